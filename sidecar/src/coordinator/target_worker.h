// Drives one target store for one epoch: everything the engine asks of it runs here, one job after
// the other, behind the lease and after the store has been prepared for the mappings at hand.
//
// Its methods are called by the dispatcher's thread and return at once; answers go to the mailbox.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

#include "coordinator/executor.h"
#include "coordinator/health.h"
#include "coordinator/lease.h"
#include "coordinator/mailbox.h"
#include "coordinator/removals.h"
#include "core/target_store.h"
#include "metrics/metrics.h"
#include "saga/events.h"

namespace apex::coordinator {

using Mappings = std::shared_ptr<const std::vector<MappingPtr>>;

class TargetWorker {
 public:
  struct Context {
    Mailbox& mailbox;
    Metrics& metrics;
    Health& health;
    const Lease& lease;
    Fence fence;
    std::chrono::milliseconds timeout;
  };

  TargetWorker(TargetStore& store, Context context);
  ~TargetWorker();
  TargetWorker(const TargetWorker&) = delete;
  TargetWorker& operator=(const TargetWorker&) = delete;

  /// From now on these are the mappings to be ready for. Makes what they need at once, or else
  /// before the next write.
  void Know(Mappings mappings);
  /// A table is taken away in parts, between which other jobs have their turn.
  void Perform(saga::Write write);
  void Perform(saga::Undo undo);
  /// Before what waits, and in the middle of what takes long.
  void Perform(saga::Evict evict);
  void Perform(const saga::Probe& probe);
  /// Sees whether the store is there while nothing else is asked of it.
  void PingWhenIdle();
  /// Removes again what was removed while a late write could bring it back, once none can.
  void RepeatRemovalsWhenDue();

 private:
  /// Runs `call` on the store once the lease holds and the mappings are prepared, and notes what it
  /// says of the store.
  Status Guarded(const std::function<Status(Deadline)>& call);
  Status PrepareIfNeeded();
  Status RunEvictions();
  void Truncate(saga::Write write, Deadline::Clock::time_point start);
  void Finish(const saga::Write& write, Deadline::Clock::time_point start, Status status);
  Deadline ByTimeout() const { return Deadline::After(context_.timeout); }
  /// A refusal of rows is an answer all the same.
  void NoteRows(const Status& status);
  /// A store that answers and yet does not take what it was sent stays down until it does.
  void NotePing(const Status& status);
  void SetUp();
  void SetDown(const StoreError& error);

  TargetStore& store_;
  Context context_;
  std::atomic<bool> repeating_{false};
  Removals removals_;  ///< Executor's thread only, as is what follows.
  Mappings mappings_;
  std::unordered_set<int32_t> prepared_;
  bool rows_wait_ = false;  ///< Rows were sent in vain and will come again.
  Status evicted_;          ///< Within RunEvictions: the last one that failed for the store's sake.
  Executor executor_;       ///< Last: its jobs use everything above.
};

}  // namespace apex::coordinator
