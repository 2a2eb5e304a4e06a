#include "coordinator/dispatcher.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <utility>
#include <variant>

namespace apex::coordinator {
namespace {

constexpr std::chrono::milliseconds kPingInterval{2000};
constexpr std::chrono::milliseconds kRotateInterval{10000};
// Without a notifier the outbox is looked at this often.
constexpr std::chrono::milliseconds kPollUnnotified{20};

int64_t UnixMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double SecondsSinceCapture(int64_t captured_at_us) {
  return std::max(0.0, static_cast<double>(UnixMicros() - captured_at_us) / 1e6);
}

std::optional<Store> MissingStore(const TableMapping& mapping, const std::set<Store>& targets) {
  if ((mapping.node || mapping.edge) && !targets.contains(Store::kNeo4j)) return Store::kNeo4j;
  if (mapping.vector && !targets.contains(Store::kQdrant)) return Store::kQdrant;
  if (mapping.cache && !targets.contains(Store::kRedis)) return Store::kRedis;
  return std::nullopt;
}

}  // namespace

Dispatcher::Dispatcher(DispatcherOptions options, postgres::Ledger& ledger,
                       postgres::Listener& listener, const std::map<Store, TargetStore*>& targets,
                       const Lease& lease, const Fence& fence, Metrics& metrics, Health& health)
    : options_(std::move(options)),
      ledger_(ledger),
      listener_(listener),
      metrics_(metrics),
      health_(health),
      engine_(options_.engine),
      backfiller_([this](int64_t rows_max) { return ledger_.Backfill(rows_max, LedgerDeadline()); },
                  [this] { mailbox_.Nudge(); }) {
  for (const auto& [store, target] : targets) {
    workers_[store] = std::make_unique<TargetWorker>(
        *target,
        TargetWorker::Context{mailbox_, metrics_, health_, lease, fence, options_.store_timeout});
  }
}

Dispatcher::~Dispatcher() { listener_.Interrupt(); }

Dispatcher::Outcome Dispatcher::Run(Leadership leadership, const std::atomic<bool>& stop) {
  ledger_thread_.Post([this] {
    if (Status status = LearnMappings(); !status.ok()) LeaseLost(status.error());
  });
  PerformAll(engine_.Step(saga::Led{std::move(leadership)}, Now()));
  std::optional<Deadline> drain_by;
  while (!outcome_) {
    if (stop && !drain_by) {
      drain_by = Deadline::After(options_.shutdown);
      PerformAll(engine_.Step(saga::Drain{}, Now()));
    }
    if (drain_by && engine_.drained()) {
      Resign();
      outcome_ = Outcome{End::kDrained, ""};
      break;
    }
    if (drain_by && drain_by->expired()) {
      outcome_ =
          Outcome{End::kDrained,
                  "the shutdown deadline passed with work in flight: the next leader replays it"};
      break;
    }
    const auto next_chore = DoChores();
    std::deque<saga::Event> events = mailbox_.Take(Deadline::At(WakeAt(next_chore, drain_by)));
    if (events.empty()) PerformAll(engine_.Step(saga::Tick{}, Now()));
    for (saga::Event& event : events) PerformAll(engine_.Step(std::move(event), Now()));
    UpdateGauges();
    const std::lock_guard lock(lost_mutex_);
    if (lost_ && !outcome_) outcome_ = Outcome{End::kLost, Describe(*lost_)};
  }
  const std::lock_guard lock(unusable_mutex_);
  if (!unusable_.empty()) return Outcome{End::kUnusable, unusable_};
  return *outcome_;
}

/// Nothing is in flight any more, so a standby need not wait for the lease to run out.
void Dispatcher::Resign() {
  std::promise<void> resigned;
  ledger_thread_.Post([this, &resigned] {
    if (Status status = ledger_.Resign(LedgerDeadline()); !status.ok()) {
      spdlog::warn("resigning: {}; a standby waits for the lease to run out",
                   Describe(status.error()));
    }
    resigned.set_value();
  });
  resigned.get_future().wait();
}

/// Returns when there is something to do again.
Deadline::Clock::time_point Dispatcher::DoChores() {
  const auto now = Deadline::Clock::now();
  if (now >= next_ping_) {
    next_ping_ = now + kPingInterval;
    for (auto& [store, worker] : workers_) {
      worker->PingWhenIdle();
      worker->RepeatRemovalsWhenDue();
    }
  }
  if (now >= next_rotation_) {
    next_rotation_ = now + kRotateInterval;
    ledger_thread_.Post([this] {
      // A slot that is not emptied now is emptied later; it costs space alone.
      if (Status status = ledger_.Rotate(LedgerDeadline()); !status.ok()) {
        spdlog::warn("emptying the outbox: {}", Describe(status.error()));
      }
    });
  }
  const auto next_step = backfiller_.Advance(now, {engine_.unsettled_changes(), engine_.batches()});
  return std::min({next_ping_, next_rotation_, next_step});
}

Deadline::Clock::time_point Dispatcher::WakeAt(Deadline::Clock::time_point next_chore,
                                               const std::optional<Deadline>& drain_by) const {
  auto wake = next_chore;
  if (const std::optional<saga::Time> tick = engine_.next_tick())
    wake = std::min(wake, started_ + *tick);
  if (drain_by) wake = std::min(wake, drain_by->when());
  return wake;
}

void Dispatcher::LeaseLost(const StoreError& error) {
  {
    const std::lock_guard lock(lost_mutex_);
    if (!lost_) lost_ = error;
  }
  mailbox_.Nudge();
}

saga::Time Dispatcher::Now() const {
  return std::chrono::duration_cast<saga::Time>(Deadline::Clock::now() - started_);
}

void Dispatcher::PerformAll(std::vector<saga::Action> actions) {
  for (saga::Action& action : actions) {
    std::visit([this](auto& asked) { Perform(std::move(asked)); }, action);
  }
}

void Dispatcher::Perform(const saga::Read& read) {
  ledger_thread_.Post([this, size = read.size] {
    mailbox_.Put(saga::PieceArrived{Known(ledger_.Read(size, LedgerDeadline()))});
  });
}

void Dispatcher::Perform(const saga::ReadAhead& read) {
  ledger_thread_.Post([this, size = read.size] {
    mailbox_.Put(saga::AheadArrived{Known(ledger_.ReadAhead(size, LedgerDeadline()))});
  });
}

void Dispatcher::Perform(const saga::Peek& peek) {
  ledger_thread_.Post([this, peek] {
    mailbox_.Put(saga::Peeked{Known(ledger_.Peek(peek.size, peek.place, LedgerDeadline()))});
  });
}

void Dispatcher::Perform(const saga::Arm&) {
  listener_thread_.Post([this] {
    Result<bool> armed = listener_.Arm(LedgerDeadline());
    armed_ = armed.ok() && *armed;
    mailbox_.Put(saga::Woken{armed_});
  });
}

void Dispatcher::Perform(const saga::AwaitChange&) {
  listener_thread_.Post([this] {
    const auto span = armed_ ? options_.poll : std::min(options_.poll, kPollUnnotified);
    if (Result<bool> notified = listener_.Wait(Deadline::After(span)); !notified.ok()) {
      spdlog::debug("waiting for a notification: {}", Describe(notified.error()));
    }
    mailbox_.Put(saga::Woken{false});
  });
}

void Dispatcher::Perform(saga::Evict evict) {
  workers_.at(Store::kRedis)->Perform(std::move(evict));
}

void Dispatcher::Perform(saga::Write write) {
  TargetWorker& worker = *workers_.at(write.store);
  worker.Perform(std::move(write));
}

void Dispatcher::Perform(const saga::Probe& probe) { workers_.at(probe.store)->Perform(probe); }

void Dispatcher::Perform(saga::Undo undo) {
  TargetWorker& worker = *workers_.at(undo.store);
  worker.Perform(std::move(undo));
}

void Dispatcher::Perform(saga::RecordFailure record) {
  ledger_thread_.Post([this, record = std::move(record)] {
    mailbox_.Put(saga::FailureRecorded{record.failure,
                                       ledger_.RecordFailure(record.record, LedgerDeadline())});
  });
}

void Dispatcher::Perform(saga::SettleFailure settle) {
  ledger_thread_.Post([this, settle = std::move(settle)] {
    mailbox_.Put(saga::FailureSettled{
        settle.failure, ledger_.SettleFailure(settle.id, settle.state, LedgerDeadline())});
  });
}

void Dispatcher::Perform(saga::Checkpoint checkpoint) {
  ledger_thread_.Post([this, request = std::move(checkpoint.request)] {
    const auto start = Deadline::Clock::now();
    Status status = ledger_.Checkpoint(request, LedgerDeadline());
    if (status.ok()) {
      metrics_.StepObserved(Store::kPostgres,
                            std::chrono::duration<double>(Deadline::Clock::now() - start).count());
    }
    mailbox_.Put(saga::CheckpointFinished{std::move(status)});
  });
}

void Dispatcher::Perform(const saga::Stop& stop) {
  if (stop.reason.native_code != kFenced) health_.SetDown(Store::kPostgres, Describe(stop.reason));
  outcome_ = Outcome{End::kLost, Describe(stop.reason)};
}

void Dispatcher::Perform(const saga::SagasSucceeded& done) {
  metrics_.SagasSettled(true, done.sagas);
  metrics_.BatchObserved(static_cast<int64_t>(done.captured_at_us.size()));
  for (int64_t captured_at_us : done.captured_at_us)
    metrics_.EndToEndObserved(SecondsSinceCapture(captured_at_us));
  spdlog::debug("{} sagas settled", done.sagas);
}

void Dispatcher::Perform(const saga::SagasFailed& failed) {
  metrics_.SagasSettled(false, failed.sagas);
  metrics_.Failed(failed.record.failed_step, failed.record.error_type, failed.sagas);
  const bool undone = failed.state == FailureState::kParked;
  spdlog::log(undone ? spdlog::level::warn : spdlog::level::err, "saga {} {} after {}: {}",
              failed.record.id,
              undone ? "compensated and parked" : "could not be compensated and is parked",
              failed.record.failed_step, failed.record.error);
}

void Dispatcher::Perform(const saga::StepCompensated& undone) {
  metrics_.Compensated(StepName(undone.store), undone.compensated);
}

void Dispatcher::Perform(const saga::StoreFailing& failing) {
  metrics_.Retried(failing.error.store);
  metrics_.SetBreakerOpen(failing.error.store, true);
}

void Dispatcher::Perform(const saga::StoreRecovered& recovered) {
  metrics_.SetBreakerOpen(recovered.store, false);
  spdlog::info("{} is written again", Name(recovered.store));
}

Result<Piece> Dispatcher::Known(Result<Piece> piece) {
  if (!piece.ok()) return piece;
  health_.SetUp(Store::kPostgres);
  metrics_.SagasSplit(piece->sagas_split);
  const bool all_known = std::all_of(
      piece->changes.begin(), piece->changes.end(),
      [this](const ChangePtr& change) { return known_mappings_.contains(change->mapping->id); });
  if (all_known) return piece;
  if (Status status = LearnMappings(); !status.ok()) return status.error();
  return piece;
}

Status Dispatcher::LearnMappings() {
  Result<std::vector<MappingPtr>> loaded = ledger_.LoadMappings(LedgerDeadline());
  if (!loaded.ok()) return loaded.error();
  auto active = std::make_shared<std::vector<MappingPtr>>();
  for (const MappingPtr& mapping : *loaded) {
    known_mappings_.insert(mapping->id);
    if (!mapping->active) continue;
    active->push_back(mapping);
    if (const std::optional<Store> missing = MissingStore(*mapping, options_.engine.targets)) {
      const std::string reason = fmt::format(
          "table {} is mapped to {}, which is not configured: set {}.uri or detach the table",
          mapping->table, Name(*missing), Name(*missing));
      {
        const std::lock_guard lock(unusable_mutex_);
        unusable_ = reason;
      }
      return StoreError{Store::kPostgres,     "mapping", ErrorKind::kPermanent,
                        "apex.configuration", reason,    std::nullopt};
    }
  }
  for (auto& [store, worker] : workers_) worker->Know(active);
  return {};
}

void Dispatcher::UpdateGauges() {
  metrics_.SetActiveSagas(engine_.active_sagas());
  metrics_.SetBacklogRows(engine_.unsettled_changes());
  const std::optional<int64_t> oldest = engine_.oldest_captured_at_us();
  metrics_.SetLagSeconds(oldest ? SecondsSinceCapture(*oldest) : 0);
}

}  // namespace apex::coordinator
