#include "coordinator/executor.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace apex::coordinator {
namespace {

TEST(ExecutorTest, RunsJobsOneAfterTheOtherInTheOrderTheyWerePosted) {
  std::vector<int> ran;
  std::promise<void> done;
  Executor executor;
  for (int i = 0; i < 100; ++i) executor.Post([&ran, i] { ran.push_back(i); });
  executor.Post([&done] { done.set_value(); });
  done.get_future().wait();
  ASSERT_EQ(ran.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[i], i);
}

TEST(ExecutorTest, RunsUrgentJobsBeforeTheOthersAndInTheMiddleOfOneThatLetsThem) {
  std::vector<int> ran;
  std::promise<void> posted;
  std::promise<void> done;
  Executor executor;
  executor.Post([&] {
    posted.get_future().wait();
    executor.RunUrgent();
    ran.push_back(1);
    executor.PostUrgent([&] { ran.push_back(3); });
  });
  executor.Post([&] {
    ran.push_back(4);
    done.set_value();
  });
  executor.PostUrgent([&ran] { ran.push_back(0); });
  executor.PostUrgent([&ran] { ran.push_back(0); });
  posted.set_value();
  done.get_future().wait();
  // The urgent ones may have found the thread before the first job did.
  EXPECT_EQ(ran, (std::vector{0, 0, 1, 3, 4}));
}

TEST(ExecutorTest, IsIdleOnlyWhileNothingRunsOrWaits) {
  std::promise<void> release;
  std::promise<void> finished;
  Executor executor;
  EXPECT_TRUE(executor.idle());
  executor.Post([&release] { release.get_future().wait(); });
  executor.Post([&finished] { finished.set_value(); });
  EXPECT_FALSE(executor.idle());
  release.set_value();
  finished.get_future().wait();
  while (!executor.idle()) std::this_thread::yield();
}

TEST(ExecutorTest, WaitsForTheRunningJobAtItsEndAndDropsTheOthers) {
  std::promise<void> started;
  std::promise<void> release;
  bool finished = false;
  auto executor = std::make_unique<Executor>();
  executor->Post([&] {
    started.set_value();
    release.get_future().wait();
    finished = true;
  });
  auto held_by_the_next = std::make_shared<int>(0);
  const std::weak_ptr<int> next = held_by_the_next;
  executor->Post([kept = std::move(held_by_the_next)] { FAIL() << "it was to be dropped"; });
  started.get_future().wait();
  std::thread destroyer([&executor] { executor.reset(); });
  while (!next.expired()) std::this_thread::yield();
  release.set_value();
  destroyer.join();
  EXPECT_TRUE(finished);
}

}  // namespace
}  // namespace apex::coordinator
