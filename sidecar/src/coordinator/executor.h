// One thread that runs jobs in the order they were posted: everything sent to one store goes
// through one of these, so an undo never overtakes the write it undoes.
//
// Jobs that are urgent go before the others, and a long job lets them pass by RunUrgent. Post and
// PostUrgent are thread-safe. The destructor does what Stop does.
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
  void PostUrgent(std::function<void()> job);
  /// Waits for the running job and drops the others, and those that are posted from now on.
  void Stop();
  /// In the middle of a job: runs those urgent ones that wait.
  void RunUrgent();
  /// Nothing runs and nothing waits.
  bool idle() const;

 private:
  using Jobs = std::deque<std::function<void()>>;

  void PostTo(Jobs& jobs, std::function<void()> job);
  void Run();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Jobs jobs_;
  Jobs urgent_;
  bool running_ = false;
  bool stopping_ = false;
  std::thread thread_;  ///< Last, so that it starts when everything else is there.
};

}  // namespace apex::coordinator
