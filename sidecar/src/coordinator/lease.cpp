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
  changed_.notify_all();
  thread_.join();
}

Status Lease::Confirm(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const int64_t wanted = sent_ + 1;
  asked_ = true;
  changed_.notify_all();
  const auto over = [this, wanted] { return stopping_ || ended_ || confirmed_ >= wanted; };
  const bool heard = changed_.wait_until(lock, deadline.when(), over);
  if (confirmed_ >= wanted) return {};
  if (!heard) {
    return StoreError{Store::kPostgres,
                      "confirm",
                      ErrorKind::kTransient,
                      "apex.unconfirmed",
                      "PostgreSQL did not say in time whether this process still leads",
                      std::nullopt};
  }
  return StoreError{Store::kPostgres,
                    "confirm",
                    ErrorKind::kPermanent,
                    std::string(kFenced),
                    "this process no longer leads",
                    std::nullopt};
}

void Lease::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait_for(lock, span_ / 4, [this] { return stopping_ || asked_; });
    if (stopping_) return;
    asked_ = false;
    const int64_t number = ++sent_;
    lock.unlock();
    const Deadline::Clock::time_point sent = Deadline::Clock::now();
    const Status status = heartbeat_(Deadline::At(valid_until_.load()));
    const bool lost = !status.ok() && (status.error().kind == ErrorKind::kPermanent || !Valid());
    if (status.ok()) valid_until_.store(sent + span_);
    if (lost) valid_until_.store(Deadline::Clock::time_point::min());
    lock.lock();
    if (status.ok()) confirmed_ = number;
    ended_ = lost;
    changed_.notify_all();
    if (!lost) continue;
    lock.unlock();
    lost_(status.error());
    return;
  }
}

}  // namespace apex::coordinator
