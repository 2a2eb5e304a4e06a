#include "coordinator/lease.h"

#include <utility>

namespace apex::coordinator {

Lease::Lease(Deadline::Clock::time_point granted_at, std::chrono::milliseconds span,
             Heartbeat heartbeat, Lost lost)
    : span_(span),
      heartbeat_(std::move(heartbeat)),
      lost_(std::move(lost)),
      valid_until_(granted_at + span),
      thread_([this] { Run(); }) {}

Lease::~Lease() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_one();
  thread_.join();
}

void Lease::Run() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, span_ / 4, [this] { return stopping_; })) {
    lock.unlock();
    const Deadline::Clock::time_point sent = Deadline::Clock::now();
    const Status status = heartbeat_(Deadline::At(valid_until_.load()));
    if (status.ok()) {
      valid_until_.store(sent + span_);
    } else if (status.error().kind == ErrorKind::kPermanent || !Valid()) {
      valid_until_.store(Deadline::Clock::time_point::min());
      lost_(status.error());
      return;
    }
    lock.lock();
  }
}

}  // namespace apex::coordinator
