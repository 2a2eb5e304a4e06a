#include "coordinator/executor.h"

#include <utility>

namespace apex::coordinator {

Executor::Executor() : thread_([this] { Run(); }) {}

Executor::~Executor() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  changed_.notify_one();
  thread_.join();
}

void Executor::Post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

bool Executor::idle() const {
  const std::lock_guard lock(mutex_);
  return !running_ && jobs_.empty();
}

void Executor::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    running_ = false;
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    running_ = true;
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace apex::coordinator
