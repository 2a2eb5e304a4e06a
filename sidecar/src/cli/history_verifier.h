// Compares every row with every store once the leader has sent them anew after another history.
//
// What the lost history had and this one has not, no refresh takes out of the stores: the log says
// what differs, and `apex repair` mends it. Runs on a thread and connections of its own, beside the
// leader's work; a process that does not lead looks at nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "config/config.h"
#include "coordinator/health.h"
#include "stores/postgres/admin.h"

namespace apex::cli {

class HistoryVerifier {
 public:
  HistoryVerifier(const config::Config& config, const coordinator::Health& health);
  ~HistoryVerifier();
  HistoryVerifier(const HistoryVerifier&) = delete;
  HistoryVerifier& operator=(const HistoryVerifier&) = delete;

  /// Ends a comparison that runs; does not wait for it, as the destructor does.
  void Stop();

 private:
  void Run();
  void Pause(std::chrono::milliseconds span);
  /// True when there is nothing more to do in this epoch.
  bool LookForHistory();
  bool VerifyNow();

  const config::Config& config_;
  const coordinator::Health& health_;
  postgres::Admin admin_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable stopped_;
  std::thread thread_;  ///< Last: it uses the rest.
};

}  // namespace apex::cli
