#include "simulation.h"

#include <algorithm>
#include <utility>

namespace apex::sim {
namespace {

constexpr int64_t kLeaseMs = 40;
constexpr int64_t kPauseMaxMs = 250;  ///< Longer than the lease and than any deadline.
constexpr int64_t kCalmMs = 600'000;  ///< By then everything has settled, or never will.

}  // namespace

SimReport Simulate(const SimOptions& options) { return Simulation(options).Run(); }

Simulation::Simulation(const SimOptions& options)
    : options_(options),
      dice_(options.seed),
      postgres_(options_, dice_, counts_, violations_),
      around_{options_, dice_, scheduler_, postgres_, targets_, counts_, violations_} {
  for (Store store : kTargets) {
    targets_[store].store =
        std::make_unique<SimStore>(store, options_, postgres_, dice_, counts_, violations_);
    engine_options_.targets.insert(store);
  }
  engine_options_.batch_rows_max = dice_.Between(1, 20);
  engine_options_.write_target = Time{dice_.Between(1, 30)};
  engine_options_.batches_in_flight_max = dice_.Between(1, 3);
  engine_options_.piece_rows_max = dice_.Between(1, 30);
  engine_options_.pending_rows_max = dice_.Between(5, 100);
  engine_options_.peek_after = Time{dice_.Between(0, 40)};
  engine_options_.peek_interval = Time{dice_.Between(1, 20)};
  engine_options_.backoff = {.initial_ms = 5, .max_ms = 40};
  engine_options_.one_batch_per_row = options_.flaw != Flaw::kTwoBatchesOfOneRow;
  engine_options_.truncations_wait = options_.flaw != Flaw::kTruncationDoesNotWait;
  if (dice_.Chance(10)) engine_options_.give_up_after = Time{dice_.Between(20, 300)};
}

SimReport Simulation::Run() {
  ScheduleWriters();
  ScheduleFaults();
  Lead();
  while (!Quiet() && !scheduler_.idle() && violations_.found().empty()) {
    scheduler_.RunNext();
    CallStandbyIfGone();
    if (scheduler_.now() > Time{kStormMs + kCalmMs}) {
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
  around_.fault_percent = dice_.Chance(30) ? 0 : dice_.Between(1, 20);
  const auto window = [this] {
    const int64_t from = dice_.Between(0, kStormMs);
    return Window{Time{from}, Time{dice_.Between(from, std::min(from + 200, kStormMs))}};
  };
  for (auto& [store, target] : targets_) {
    if (dice_.Chance(40)) target.outage = window();
    if (dice_.Chance(40)) target.read_only = window();
    for (int64_t i = dice_.Between(0, 2); i > 0; --i) {
      scheduler_.At(Time{dice_.Between(0, kStormMs)}, [this, which = store] { CrashStore(which); });
    }
  }
  for (int64_t i = dice_.Between(0, 5); i > 0; --i) {
    scheduler_.At(Time{dice_.Between(0, kStormMs)}, [this] { HarmLeader(); });
  }
}

/// What it had been sent and had not yet done is lost with it; what it has done stays.
void Simulation::CrashStore(Store store) {
  ++counts_.store_crashes;
  Target& target = targets_.at(store);
  ++target.lives;
  target.outage = {scheduler_.now(), scheduler_.now() + Time{dice_.Between(1, 80)}};
}

void Simulation::HarmLeader() {
  Replica& leader = *replicas_.back();
  // Whether repeated removals survive leaders that leave faster than their requests is not what
  // this simulates.
  if (leader.gone() || leader.paused() || leader.draining() || !leader.sure())
    return scheduler_.After(10, [this] { HarmLeader(); });
  const int64_t harm = dice_.Between(1, 100);
  if (harm <= 50) {
    ++counts_.crashes;
    leader.Kill();
  } else if (harm <= 85) {
    PauseLeader();
  } else {
    leader.Drain();
  }
}

void Simulation::PauseLeader() {
  ++counts_.pauses;
  Replica& paused = *replicas_.back();
  paused.Pause();
  const int64_t span = dice_.Between(1, kPauseMaxMs);
  if (span > kLeaseMs) {
    scheduler_.After(dice_.Between(kLeaseMs, span), [this] { Lead(); });
  }
  scheduler_.After(span, [this, &paused] {
    if (!paused.leads()) ++counts_.woken_deposed;
    paused.Wake();
  });
}

void Simulation::CallStandbyIfGone() {
  if (!replicas_.back()->gone() || std::exchange(standby_called_, true)) return;
  scheduler_.After(dice_.Between(1, kStoreDeadlineMs / 2), [this] { Lead(); });
}

void Simulation::Lead() {
  standby_called_ = false;
  Leadership leadership = postgres_.Lead();
  saga::EngineOptions engine_options = engine_options_;
  engine_options.seed = dice_.Seed();
  replicas_.push_back(std::make_unique<Replica>(around_, engine_options, leadership.epoch));
  replicas_.back()->Start(std::move(leadership));
}

}  // namespace apex::sim
