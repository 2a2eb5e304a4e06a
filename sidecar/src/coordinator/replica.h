// One process among the leader and its standbys: waits for leadership, leads, and begins again when
// it is lost.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "coordinator/dispatcher.h"
#include "coordinator/health.h"
#include "core/target_store.h"
#include "metrics/metrics.h"
#include "stores/postgres/ledger.h"
#include "stores/postgres/listener.h"

namespace apex::coordinator {

struct ReplicaOptions {
  DispatcherOptions dispatcher;
  std::chrono::milliseconds lease{1500};
};

class Replica {
 public:
  Replica(ReplicaOptions options, postgres::Ledger& ledger, postgres::Listener& listener,
          std::map<Store, TargetStore*> targets, Metrics& metrics, Health& health);

  /// Blocks until Stop. The value says why the process cannot go on, and is empty after an orderly
  /// end.
  std::string Run();

  /// Thread-safe and idempotent: finish what is in flight, within the shutdown deadline, and return
  /// from Run.
  void Stop();

 private:
  Dispatcher::Outcome Lead(Leadership leadership, Deadline::Clock::time_point granted_at);
  void Pause(std::chrono::milliseconds span);

  const ReplicaOptions options_;
  postgres::Ledger& ledger_;
  postgres::Listener& listener_;
  const std::map<Store, TargetStore*> targets_;
  Metrics& metrics_;
  Health& health_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Dispatcher* dispatcher_ = nullptr;  ///< While leading; guarded by mutex_.
};

}  // namespace apex::coordinator
