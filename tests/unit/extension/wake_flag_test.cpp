#include "core/wake_flag.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace apex {
namespace {

TEST(WakeFlagTest, CommitWithoutAReaderTriggersNothing) {
  WakeFlag flag;
  EXPECT_FALSE(flag.Trigger());
  EXPECT_FALSE(flag.Take());
}

TEST(WakeFlagTest, OneOfManyCommitsTriggersOnce) {
  WakeFlag flag;
  flag.Arm();
  EXPECT_TRUE(flag.Trigger());
  EXPECT_FALSE(flag.Trigger());
  EXPECT_TRUE(flag.Take());
  EXPECT_FALSE(flag.Take());
  EXPECT_FALSE(flag.Trigger());
}

TEST(WakeFlagTest, SecondReaderDoesNotTakeBackThePendingWakeUpOfTheFirst) {
  WakeFlag flag;
  flag.Arm();
  ASSERT_TRUE(flag.Trigger());
  flag.Arm();
  EXPECT_TRUE(flag.Take());
}

TEST(WakeFlagTest, WhatCouldNotBeSentStaysPendingWhoeverArms) {
  WakeFlag flag;
  flag.Arm();
  ASSERT_TRUE(flag.Trigger());
  ASSERT_TRUE(flag.Take());
  flag.Arm();
  flag.PutBack();
  EXPECT_FALSE(flag.Trigger());
  EXPECT_TRUE(flag.Take());
}

// A reader arms, reads, and sleeps only when there is nothing to read. If the flag ever lost a
// wake-up, the reader would sleep for ever beside a commit it has not seen, and the deadline would
// say so.
TEST(WakeFlagTest, ReaderThatArmsAndReadsNeverMissesACommit) {
  constexpr int kWriters = 2;
  constexpr int kCommitsEach = 50'000;
  WakeFlag flag;
  std::atomic<int> committed{0};
  std::vector<std::thread> writers;
  writers.reserve(kWriters);
  std::atomic<int> latch{0};
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&] {
      for (int n = 0; n < kCommitsEach; ++n) {
        committed.fetch_add(1);
        if (flag.Trigger()) latch.fetch_add(1);
      }
    });
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  int seen = 0;
  bool missed = false;
  while (seen < kWriters * kCommitsEach && !missed) {
    flag.Arm();
    const int now = committed.load();
    if (now == seen) {
      while (!flag.Take() && !missed) missed = std::chrono::steady_clock::now() > deadline;
    }
    seen = now;
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_FALSE(missed);
  EXPECT_LE(latch.load(), kWriters * kCommitsEach);
}

}  // namespace
}  // namespace apex
