// One seeded run: writers, a leader that crashes and comes back, three stores that fail, and a
// checker.
//
// The engine under test is the real one. Everything around it is simulated in virtual time: a FIFO
// executor a store and one for PostgreSQL, as the dispatcher has them, so that stores overtake each
// other and no request overtakes another of its store. A run has a stormy part and a calm one,
// after which the guarantees must hold.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "dice.h"
#include "options.h"
#include "postgres.h"
#include "reader.h"
#include "saga/engine.h"
#include "scheduler.h"
#include "store.h"
#include "traffic.h"

namespace apex::sim {

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  SimReport Run();

 private:
  struct Window {
    Time from{0};
    Time to{0};
    bool Contains(Time now) const { return from <= now && now < to; }
  };

  struct Target {
    std::unique_ptr<SimStore> store;
    std::deque<Request> requests;  ///< The first one is under way.
    Window outage;
    Window read_only;
  };

  // The storm.
  void ScheduleWriters();
  void ScheduleFaults();
  Fate DrawFate(const Target& target);

  // The leader's life.
  void Lead();
  void Crash();
  void Shutdown();
  void TakeEngineAway();

  // The dispatcher.
  void Step(saga::Event event);
  void Perform(saga::Read action);
  void Perform(saga::Arm action);
  void Perform(saga::AwaitChange action);
  void Perform(saga::Evict action);
  void Perform(saga::Write action);
  void Perform(saga::Probe action);
  void Perform(saga::RecordFailure action);
  void Perform(saga::Undo action);
  void Perform(saga::SettleFailure action);
  void Perform(saga::Checkpoint action);
  void Perform(saga::Stop action);
  template <typename Observation>
  void Perform(Observation) {}

  void WakeAfter(int64_t delay_ms, bool armed);
  void Send(Store store, Request request);
  void ServeNext(Store store);
  /// `transaction` commits and returns how its answer is told; the answer of one that a crash
  /// overtakes is never heard.
  void PostLedger(std::function<saga::Event()> transaction);
  void ServeLedger();

  // The checker.
  bool Quiet() const;
  void CheckBlame(const FailureRecord& record);
  void CheckStores();
  void CheckRow(Store store, const RowId& row, const SimPostgres::Truth& truth);

  const SimOptions options_;
  Dice dice_;
  Scheduler scheduler_;
  SimCounts counts_;
  Violations violations_;
  SimPostgres postgres_;
  std::map<Store, Target> targets_;

  saga::EngineOptions engine_options_;
  std::optional<saga::Engine> engine_;
  std::optional<SimReader> reader_;
  std::optional<Traffic> traffic_;
  std::deque<std::function<saga::Event()>> ledger_;  ///< The first one is under way.
  std::map<int64_t, ChangePtr> changes_;             ///< Everything this leader was handed, by seq.
  int64_t epoch_ = 0;  ///< What was begun for a leader that is gone compares it and does nothing.
  bool draining_ = false;
  bool asleep_ = false;         ///< The engine waits until something is committed.
  bool deadlines_over_ = true;  ///< Nothing that a dead leader sent can land any more.
  int64_t fault_percent_ = 0;
  int64_t transactions_wanted_ = 0;
  bool writing_ = true;
  Time calm_from_{0};
};

}  // namespace apex::sim
