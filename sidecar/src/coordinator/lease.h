// This process's own view of how long it may go on writing as the leader of an epoch.
//
// A heartbeat that PostgreSQL confirmed is good for the lease counted from the moment it was
// *sent*, which is never later than the time PostgreSQL wrote down: a successor that waits the same
// span there starts after we have stopped. A paused process that wakes between this check and its
// send is stopped by the stores' own fences. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "core/deadline.h"
#include "core/result.h"

namespace apex::coordinator {

class Lease {
 public:
  using Heartbeat = std::function<Status(Deadline)>;
  using Lost = std::function<void(const StoreError&)>;

  /// `granted_at`: when the call that won the epoch was sent. `lost` is called once, from the
  /// lease's own thread.
  Lease(Deadline::Clock::time_point granted_at, std::chrono::milliseconds span, Heartbeat heartbeat,
        Lost lost);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  bool Valid() const { return Deadline::Clock::now() < valid_until_.load(); }

  /// Success: a heartbeat sent after this call was confirmed, so no other epoch had begun when the
  /// call was made. Proves without any clock what Valid says by this process's own.
  Status Confirm(Deadline deadline);

 private:
  void Run();

  const std::chrono::milliseconds span_;
  const Heartbeat heartbeat_;
  const Lost lost_;
  std::atomic<Deadline::Clock::time_point> valid_until_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;  ///< Guarded by mutex_, as is what follows.
  bool asked_ = false;     ///< Somebody waits for a heartbeat that is not sent yet.
  bool ended_ = false;
  int64_t sent_ = 0;       ///< Heartbeats.
  int64_t confirmed_ = 0;  ///< The last of them that was.
  std::thread thread_;     ///< Last, so that it starts when everything else is there.
};

}  // namespace apex::coordinator
