#include "coordinator/executor.h"

#include <utility>

namespace apex::coordinator {

Executor::Executor() : thread_([this] { Run(); }) {}

Executor::~Executor() { Stop(); }

void Executor::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
    urgent_.clear();
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Executor::Post(std::function<void()> job) { PostTo(jobs_, std::move(job)); }

void Executor::PostUrgent(std::function<void()> job) { PostTo(urgent_, std::move(job)); }

void Executor::PostTo(Jobs& jobs, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs.push_back(std::move(job));
  }
  changed_.notify_one();
}

bool Executor::idle() const {
  const std::lock_guard lock(mutex_);
  return !running_ && jobs_.empty() && urgent_.empty();
}

void Executor::RunUrgent() {
  while (true) {
    std::function<void()> job;
    {
      const std::lock_guard lock(mutex_);
      if (urgent_.empty()) return;
      job = std::move(urgent_.front());
      urgent_.pop_front();
    }
    job();
  }
}

void Executor::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    running_ = false;
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty() || !urgent_.empty(); });
    if (stopping_) return;
    Jobs& next = urgent_.empty() ? jobs_ : urgent_;
    std::function<void()> job = std::move(next.front());
    next.pop_front();
    running_ = true;
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace apex::coordinator
