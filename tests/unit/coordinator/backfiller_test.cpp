#include "coordinator/backfiller.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <semaphore>

namespace apex::coordinator {
namespace {

using std::chrono::milliseconds;

/// A backfiller whose steps answer what they are told, and whose clock is the test's.
class BackfillerTest : public testing::Test {
 protected:
  BackfillerTest()
      : backfiller_(
            [this](int64_t rows_max) {
              rows_max_ = rows_max;
              ++steps_;
              const std::lock_guard lock(mutex_);
              auto answer = std::move(answers_.front());
              answers_.pop_front();
              return answer;
            },
            [this] { done_.release(); }) {}

  void Answer(Result<std::optional<BackfillStep>> answer) {
    const std::lock_guard lock(mutex_);
    answers_.push_back(std::move(answer));
  }
  void AnswerSent(int64_t rows, milliseconds wait) {
    Answer(std::optional(BackfillStep{rows, wait}));
  }

  /// Advances and waits for the end of the step that this starts.
  void StepAt(milliseconds at, const Backfiller::Progress& progress = {}) {
    const int before = steps_;
    EXPECT_GT(backfiller_.Advance(start_ + at, progress), start_ + at);
    ASSERT_TRUE(done_.try_acquire_for(std::chrono::seconds(20)));
    EXPECT_EQ(steps_, before + 1);
  }
  void NoStepAt(milliseconds at, const Backfiller::Progress& progress = {}) {
    const int before = steps_;
    EXPECT_GT(backfiller_.Advance(start_ + at, progress), start_ + at);
    EXPECT_FALSE(done_.try_acquire());
    EXPECT_EQ(steps_, before);
  }

  const Backfiller::Clock::time_point start_ = Backfiller::Clock::now();
  std::mutex mutex_;
  std::deque<Result<std::optional<BackfillStep>>> answers_;
  std::atomic<int> steps_{0};
  std::atomic<int64_t> rows_max_{0};
  std::counting_semaphore<> done_{0};
  Backfiller backfiller_;
};

TEST_F(BackfillerTest, LooksOnceASecondWhereThereIsNoBackfill) {
  Answer(std::optional<BackfillStep>());
  Answer(std::optional<BackfillStep>());
  StepAt(milliseconds(0));
  NoStepAt(milliseconds(999));
  StepAt(milliseconds(1000));
  EXPECT_EQ(rows_max_, kBackfillRowsMax);
}

TEST_F(BackfillerTest, TakesTheNextStepAtOnceWhenThereIsNoRate) {
  AnswerSent(500, milliseconds(0));
  AnswerSent(500, milliseconds(0));
  StepAt(milliseconds(0));
  StepAt(milliseconds(1));
}

TEST_F(BackfillerTest, KeepsTheRateThatTheLedgerAsksFor) {
  AnswerSent(2, milliseconds(250));
  AnswerSent(2, milliseconds(250));
  StepAt(milliseconds(0));
  NoStepAt(milliseconds(249));
  StepAt(milliseconds(250));
}

TEST_F(BackfillerTest, WaitsWhileTheStoresAreBehind) {
  AnswerSent(500, milliseconds(0));
  NoStepAt(milliseconds(0), {kBackfillUnsettledMax + 1, 0});
  StepAt(milliseconds(1), {kBackfillUnsettledMax, 0});
}

TEST_F(BackfillerTest, WaitsForTheNextBatchWithWhatItHasSentBehindTheOpenOne) {
  for (int i = 0; i < 3; ++i) AnswerSent(kBackfillUnsettledMax / 2, milliseconds(0));
  StepAt(milliseconds(0), {1, 1});
  StepAt(milliseconds(1), {1, 1});
  NoStepAt(milliseconds(2), {1, 1});
  StepAt(milliseconds(3), {kBackfillUnsettledMax, 2});
}

TEST_F(BackfillerTest, RestsAfterAFailure) {
  Answer(StoreError{Store::kPostgres, "backfill", ErrorKind::kUnknownOutcome, "08006", "lost", {}});
  AnswerSent(1, milliseconds(0));
  StepAt(milliseconds(0));
  NoStepAt(milliseconds(500));
  StepAt(milliseconds(1000));
}

}  // namespace
}  // namespace apex::coordinator
