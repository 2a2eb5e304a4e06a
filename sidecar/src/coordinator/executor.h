// One thread that runs jobs in the order they were posted: everything sent to one store goes
// through one of these, so an undo never overtakes the write it undoes.
//
// Post is thread-safe. The destructor waits for the running job and drops the others.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace apex::coordinator {

class Executor {
 public:
  Executor();
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void Post(std::function<void()> job);
  /// Nothing runs and nothing waits.
  bool idle() const;

 private:
  void Run();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool running_ = false;
  bool stopping_ = false;
  std::thread thread_;  ///< Last, so that it starts when everything else is there.
};

}  // namespace apex::coordinator
