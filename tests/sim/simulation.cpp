#include "simulation.h"

#include <algorithm>
#include <utility>

namespace apex::sim {
namespace {

constexpr int64_t kStormMs = 700;
constexpr int64_t kStoreDeadlineMs = 60;  ///< What a dead leader sent lands within it.
constexpr int64_t kCalmMs = 600'000;      ///< By then everything has settled, or never will.

}  // namespace

SimReport Simulate(const SimOptions& options) { return Simulation(options).Run(); }

Simulation::Simulation(const SimOptions& options)
    : options_(options), dice_(options.seed), postgres_(options_, dice_, counts_, violations_) {
  for (Store store : kTargets) {
    targets_[store].store =
        std::make_unique<SimStore>(store, options_, postgres_, dice_, violations_);
    engine_options_.targets.insert(store);
  }
  engine_options_.batch_rows_max = dice_.Between(1, 20);
  engine_options_.batches_in_flight_max = dice_.Between(1, 3);
  engine_options_.piece_rows_max = dice_.Between(1, 30);
  engine_options_.pending_rows_max = dice_.Between(5, 100);
  engine_options_.backoff = {.initial_ms = 5, .max_ms = 40};
  if (dice_.Chance(10)) engine_options_.give_up_after = Time{dice_.Between(20, 300)};
}

SimReport Simulation::Run() {
  calm_from_ = Time{kStormMs};
  ScheduleWriters();
  ScheduleFaults();
  Lead();
  while (!Quiet() && !scheduler_.idle() && violations_.found().empty()) {
    scheduler_.RunNext();
    if (scheduler_.now() > calm_from_ + Time{kCalmMs}) {
      violations_.Add("G1: not everything settles although nothing fails any more");
    }
  }
  if (violations_.found().empty()) CheckStores();
  return {violations_.found(), counts_};
}

void Simulation::ScheduleWriters() {
  transactions_wanted_ = dice_.Between(5, 80);
  const auto write = [this](const auto& again) -> void {
    if (counts_.transactions < transactions_wanted_) {
      postgres_.WriteSomething();
      return scheduler_.After(dice_.Between(0, 3), [again] { again(again); });
    }
    postgres_.CommitEverything();
    writing_ = false;
  };
  scheduler_.After(0, [write] { write(write); });
}

void Simulation::ScheduleFaults() {
  fault_percent_ = dice_.Chance(30) ? 0 : dice_.Between(1, 20);
  const auto window = [this] {
    const int64_t from = dice_.Between(0, kStormMs);
    return Window{Time{from}, Time{dice_.Between(from, std::min(from + 200, kStormMs))}};
  };
  for (auto& [store, target] : targets_) {
    if (dice_.Chance(40)) target.outage = window();
    if (dice_.Chance(40)) target.read_only = window();
  }
  for (int64_t i = dice_.Between(0, 5); i > 0; --i) {
    scheduler_.At(Time{dice_.Between(0, kStormMs)},
                  [this] { dice_.Chance(80) ? Crash() : Shutdown(); });
  }
}

Fate Simulation::DrawFate(const Target& target) {
  const Time now = scheduler_.now();
  if (target.outage.Contains(now)) return dice_.Chance(50) ? Fate::kUnavailable : Fate::kLost;
  if (target.read_only.Contains(now)) return Fate::kRefused;
  if (now >= calm_from_ || !dice_.Chance(fault_percent_)) return Fate::kArrives;
  constexpr Fate kFates[] = {Fate::kUnavailable, Fate::kLost, Fate::kAnswerLost, Fate::kCutShort};
  return kFates[dice_.Between(0, 3)];
}

void Simulation::Lead() {
  Leadership leadership = postgres_.Lead();
  epoch_ = leadership.epoch;
  for (auto& [store, target] : targets_) target.store->TakenOver(epoch_);
  engine_options_.seed = dice_.Seed();
  engine_.emplace(engine_options_);
  reader_.emplace(postgres_, options_);
  traffic_.emplace(violations_);
  Step(saga::Led{std::move(leadership)});
}

void Simulation::Crash() {
  // Whether repeated deletions survive leaders that leave faster than their requests is not what
  // this simulates.
  if (!engine_ || !deadlines_over_) return scheduler_.After(10, [this] { Crash(); });
  ++counts_.crashes;
  if (!ledger_.empty() && dice_.Chance(50)) ledger_.front()();
  for (auto& [store, target] : targets_) {
    if (target.requests.empty()) continue;
    const auto land = [this, &sink = *target.store, request = target.requests.front(),
                       epoch = epoch_] {
      const Fate fate = dice_.Chance(30) ? Fate::kCutShort : Fate::kArrives;
      static_cast<void>(sink.Execute(request, epoch, fate, epoch != epoch_));
    };
    if (dice_.Chance(33)) land();
    if (dice_.Chance(50)) {
      ++counts_.late_requests;
      scheduler_.After(dice_.Between(0, kStoreDeadlineMs), land);
    }
  }
  deadlines_over_ = false;
  scheduler_.After(kStoreDeadlineMs + 1, [this] {
    deadlines_over_ = true;
    for (auto& [store, target] : targets_) target.store->RepeatDeletions();
  });
  TakeEngineAway();
}

void Simulation::Shutdown() {
  if (!engine_ || !deadlines_over_) return scheduler_.After(10, [this] { Shutdown(); });
  if (draining_) return;
  draining_ = true;
  Step(saga::Drain{});
}

void Simulation::TakeEngineAway() {
  engine_.reset();
  ledger_.clear();
  for (auto& [store, target] : targets_) target.requests.clear();
  changes_.clear();
  draining_ = asleep_ = false;
  scheduler_.After(dice_.Between(1, kStoreDeadlineMs / 2), [this] { Lead(); });
}

void Simulation::Step(saga::Event event) {
  const int64_t epoch = epoch_;
  for (saga::Action& action : engine_->Step(std::move(event), scheduler_.now())) {
    std::visit([this](auto&& asked) { Perform(std::forward<decltype(asked)>(asked)); },
               std::move(action));
    if (!engine_) return;
  }
  if (const std::optional<Time> tick = engine_->next_tick()) {
    scheduler_.At(*tick, [this, epoch] {
      if (engine_ && epoch == epoch_) Step(saga::Tick{});
    });
  }
  if (!draining_ || !engine_->drained()) return;
  const bool at_rest = std::all_of(targets_.begin(), targets_.end(), [](const auto& target) {
    return std::none_of(
        target.second.requests.begin(), target.second.requests.end(),
        [](const Request& request) { return !std::holds_alternative<saga::Evict>(request); });
  });
  if (!at_rest || !ledger_.empty())
    violations_.Add("the engine says it is drained while something is under way");
  TakeEngineAway();
}

void Simulation::Perform(saga::Read action) {
  PostLedger([this, rows_max = action.rows_max]() -> saga::Event {
    Piece piece = reader_->Read(rows_max);
    traffic_->HandedOut(piece);
    for (const ChangePtr& change : piece.changes) changes_[change->seq] = change;
    return saga::PieceArrived{std::move(piece)};
  });
}

void Simulation::Perform(saga::Arm) { WakeAfter(dice_.Between(1, 8), true); }

void Simulation::Perform(saga::AwaitChange) {
  asleep_ = true;
  WakeAfter(dice_.Between(1, 30), false);
}

void Simulation::WakeAfter(int64_t delay_ms, bool armed) {
  scheduler_.After(delay_ms, [this, armed, epoch = epoch_] {
    if (!engine_ || epoch != epoch_) return;
    asleep_ = false;
    Step(saga::Woken{armed});
  });
}

void Simulation::Perform(saga::Evict action) { Send(Store::kRedis, std::move(action)); }
void Simulation::Perform(saga::Probe action) { Send(action.store, action); }

void Simulation::Perform(saga::Write action) {
  ++counts_.writes;
  traffic_->Sent(action);
  Send(action.store, std::move(action));
}

void Simulation::Perform(saga::Undo action) {
  const bool committed =
      std::any_of(action.rows->begin(), action.rows->end(),
                  [&](const RowUndo& undo) { return postgres_.saga_rows().contains(undo.row); });
  if (!committed) violations_.Add("E5: something is undone before its intent is committed");
  traffic_->Sent(action);
  Send(action.store, std::move(action));
}

void Simulation::Perform(saga::RecordFailure action) {
  CheckBlame(action.record);
  PostLedger([this, action = std::move(action)]() -> saga::Event {
    return saga::FailureRecorded{action.failure, postgres_.RecordFailure(action.record)};
  });
}

void Simulation::Perform(saga::SettleFailure action) {
  PostLedger([this, action = std::move(action)]() -> saga::Event {
    postgres_.SettleFailure(action.id, action.state);
    return saga::FailureSettled{action.failure, {}};
  });
}

void Simulation::Perform(saga::Checkpoint action) {
  PostLedger([this, action = std::move(action)]() -> saga::Event {
    postgres_.Checkpoint(action.request);
    return saga::CheckpointFinished{{}};
  });
}

void Simulation::Perform(saga::Stop action) {
  violations_.Add("the engine stopped though it leads: " + Describe(action.reason));
}

void Simulation::Send(Store store, Request request) {
  std::deque<Request>& requests = targets_.at(store).requests;
  requests.push_back(std::move(request));
  if (requests.size() == 1) ServeNext(store);
}

void Simulation::ServeNext(Store store) {
  scheduler_.After(dice_.Between(1, 15), [this, store, epoch = epoch_] {
    if (!engine_ || epoch != epoch_) return;
    Target& target = targets_.at(store);
    const Request request = target.requests.front();
    Status status = target.store->Execute(request, epoch, DrawFate(target));
    target.requests.pop_front();
    if (!target.requests.empty()) ServeNext(store);
    if (const auto* evict = std::get_if<saga::Evict>(&request)) {
      Step(saga::EvictFinished{evict->eviction, std::move(status)});
    } else if (const auto* write = std::get_if<saga::Write>(&request)) {
      traffic_->Answered(*write);
      Step(saga::WriteFinished{write->batch, store, std::move(status)});
    } else if (const auto* undo = std::get_if<saga::Undo>(&request)) {
      traffic_->Answered(*undo);
      Step(saga::UndoFinished{undo->failure, store, std::move(status)});
    } else {
      Step(saga::ProbeFinished{store, std::move(status)});
    }
  });
}

void Simulation::PostLedger(std::function<saga::Event()> transaction) {
  ledger_.push_back(std::move(transaction));
  if (ledger_.size() == 1) ServeLedger();
}

void Simulation::ServeLedger() {
  scheduler_.After(dice_.Between(1, 8), [this, epoch = epoch_] {
    if (!engine_ || epoch != epoch_) return;
    saga::Event answer = ledger_.front()();
    ledger_.pop_front();
    if (!ledger_.empty()) ServeLedger();
    Step(std::move(answer));
  });
}

}  // namespace apex::sim
