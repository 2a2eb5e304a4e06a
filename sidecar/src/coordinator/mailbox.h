// Where the executors put what they have heard and the engine's thread takes it out. Thread-safe.
//
// Bounded by what the engine asked for: every event answers an action, and the engine keeps its
// actions bounded.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "core/deadline.h"
#include "saga/events.h"

namespace apex::coordinator {

class Mailbox {
 public:
  void Put(saga::Event event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    arrived_.notify_one();
  }

  /// Ends a wait without an event.
  void Nudge() {
    {
      const std::lock_guard lock(mutex_);
      nudged_ = true;
    }
    arrived_.notify_one();
  }

  /// Everything that has arrived, at the latest at the deadline and then perhaps nothing.
  std::deque<saga::Event> Take(Deadline deadline) {
    std::unique_lock lock(mutex_);
    arrived_.wait_until(lock, deadline.when(), [this] { return nudged_ || !events_.empty(); });
    nudged_ = false;
    return std::exchange(events_, {});
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<saga::Event> events_;
  bool nudged_ = false;
};

}  // namespace apex::coordinator
