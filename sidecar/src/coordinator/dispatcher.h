// Carries out what the saga engine asks for, for one epoch of leadership.
//
// One thread runs the engine; one executor each talks to the ledger, to the wake-up and to every
// target store, and answers through a mailbox. Owns nothing that outlives the epoch.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <unordered_set>

#include "coordinator/backfiller.h"
#include "coordinator/executor.h"
#include "coordinator/health.h"
#include "coordinator/lease.h"
#include "coordinator/mailbox.h"
#include "coordinator/target_worker.h"
#include "metrics/metrics.h"
#include "saga/engine.h"
#include "stores/postgres/ledger.h"
#include "stores/postgres/listener.h"

namespace apex::coordinator {

struct DispatcherOptions {
  saga::EngineOptions engine;
  std::string pipeline;
  std::chrono::milliseconds store_timeout{10000};
  std::chrono::milliseconds poll{1000};
  std::chrono::milliseconds shutdown{10000};
};

class Dispatcher {
 public:
  enum class End {
    kDrained,  ///< Asked to stop; everything in flight was finished and written down, or the time
               ///< was up.
    kLost,  ///< Leadership or PostgreSQL was lost. What is unfinished will be replayed by the next
            ///< leader.
    kUnusable,  ///< A mapping needs a store that is not configured.
  };

  struct Outcome {
    End end = End::kLost;
    std::string reason;
  };

  Dispatcher(DispatcherOptions options, postgres::Ledger& ledger, postgres::Listener& listener,
             const std::map<Store, TargetStore*>& targets, const Lease& lease, const Fence& fence,
             Metrics& metrics, Health& health);
  ~Dispatcher();

  /// Blocks until the epoch ends. `stop` is watched all the time; Nudge() makes it seen at once.
  Outcome Run(Leadership leadership, const std::atomic<bool>& stop);

  /// Thread-safe.
  void Nudge() { mailbox_.Nudge(); }
  void LeaseLost(const StoreError& error);

 private:
  saga::Time Now() const;
  void Resign();
  Deadline::Clock::time_point DoChores();
  Deadline::Clock::time_point WakeAt(Deadline::Clock::time_point next_chore,
                                     const std::optional<Deadline>& drain_by) const;
  void PerformAll(std::vector<saga::Action> actions);
  void Perform(const saga::Read& read);
  void Perform(const saga::ReadAhead& read);
  void Perform(const saga::Peek& peek);
  void Perform(const saga::Arm& arm);
  void Perform(const saga::AwaitChange& wait);
  void Perform(saga::Evict evict);
  void Perform(saga::Write write);
  void Perform(const saga::Probe& probe);
  void Perform(saga::RecordFailure record);
  void Perform(saga::Undo undo);
  void Perform(saga::SettleFailure settle);
  void Perform(saga::Checkpoint checkpoint);
  void Perform(const saga::Stop& stop);
  void Perform(const saga::SagasSucceeded& done);
  void Perform(const saga::SagasFailed& failed);
  void Perform(const saga::StepCompensated& undone);
  void Perform(const saga::StoreFailing& failing);
  void Perform(const saga::StoreRecovered& recovered);

  /// Ledger's thread: reads the mappings anew and tells the stores.
  Status LearnMappings();
  /// Ledger's thread: what was read, once its mappings are known.
  Result<Piece> Known(Result<Piece> piece);
  void UpdateGauges();
  Deadline LedgerDeadline() const { return Deadline::After(options_.store_timeout); }

  const DispatcherOptions options_;
  postgres::Ledger& ledger_;
  postgres::Listener& listener_;
  Metrics& metrics_;
  Health& health_;
  const Deadline::Clock::time_point started_ = Deadline::Clock::now();
  Deadline::Clock::time_point next_ping_ = started_;
  Deadline::Clock::time_point next_rotation_ = started_;
  saga::Engine engine_;
  Mailbox mailbox_;
  std::optional<Outcome> outcome_;
  std::atomic<bool> armed_{false};
  std::unordered_set<int32_t> known_mappings_;  ///< Ledger's thread only.
  std::mutex unusable_mutex_;
  std::string unusable_;  ///< Why, once a mapping needs a store that is not there.
  std::mutex lost_mutex_;
  std::optional<StoreError> lost_;

  std::map<Store, std::unique_ptr<TargetWorker>> workers_;
  Executor listener_thread_;
  Executor ledger_thread_;  ///< Behind the workers: its jobs use them.
  Backfiller backfiller_;
};

}  // namespace apex::coordinator
