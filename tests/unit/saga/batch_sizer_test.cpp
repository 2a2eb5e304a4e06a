#include "saga/batch_sizer.h"

#include <gtest/gtest.h>

#include <chrono>

namespace apex::saga {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr int64_t kRowsMax = 2048;
constexpr milliseconds kTarget{100};

class BatchSizerTest : public testing::Test {
 protected:
  /// Full writes to a store that takes `fixed` and so much more for each row.
  void Write(int writes, microseconds fixed, double row_us) {
    for (int i = 0; i < writes; ++i) WriteRows(sizer_.rows(), fixed, row_us);
  }
  void WriteRows(int64_t rows, microseconds fixed, double row_us) {
    const auto of_rows = static_cast<int64_t>(row_us * static_cast<double>(rows));
    sizer_.Written(rows, fixed + microseconds{of_rows});
  }

  BatchSizer sizer_{kRowsMax, kTarget};
};

TEST_F(BatchSizerTest, GoesUpToTheLargestSizeForAFastStore) {
  EXPECT_LT(sizer_.rows(), kRowsMax);
  Write(10, milliseconds{1}, 5);
  EXPECT_EQ(sizer_.rows(), kRowsMax);
}

TEST_F(BatchSizerTest, StaysUnderTheTargetForASlowStore) {
  Write(20, milliseconds{1}, 300);
  EXPECT_EQ(sizer_.rows(), 256);  // 78 ms, where 512 rows take 155.
}

TEST_F(BatchSizerTest, StopsAtTheSmallestSizeHoweverSlowTheStore) {
  Write(50, milliseconds{0}, 1e6);
  EXPECT_EQ(sizer_.rows(), kRowsMax / 32);
}

TEST_F(BatchSizerTest, KeepsLargeWritesWhereEachHasAFixedCost) {
  Write(30, milliseconds{200}, 10);
  EXPECT_EQ(sizer_.rows(), kRowsMax);
}

TEST_F(BatchSizerTest, FollowsAStoreThatGetsSlowAndFastAgain) {
  Write(20, milliseconds{1}, 5);
  Write(20, milliseconds{1}, 300);
  EXPECT_EQ(sizer_.rows(), 256);
  Write(20, milliseconds{1}, 5);
  EXPECT_EQ(sizer_.rows(), kRowsMax);
}

TEST_F(BatchSizerTest, FollowsAStoreThatIsFarAwayAllAtOnce) {
  Write(20, milliseconds{1}, 5);
  Write(40, milliseconds{300}, 5);
  EXPECT_EQ(sizer_.rows(), kRowsMax);
}

TEST_F(BatchSizerTest, ComesBackAfterOneWriteThatWasHeldUp) {
  Write(20, milliseconds{1}, 20);
  WriteRows(sizer_.rows(), milliseconds{3000}, 20);
  EXPECT_LT(sizer_.rows(), kRowsMax);
  Write(10, milliseconds{1}, 20);
  EXPECT_EQ(sizer_.rows(), kRowsMax);
}

TEST_F(BatchSizerTest, TriesASizeAgainThatWasDearOnce) {
  Write(2, milliseconds{1}, 60);
  ASSERT_EQ(sizer_.rows(), 1024);
  WriteRows(1024, milliseconds{400}, 60);
  ASSERT_EQ(sizer_.rows(), 512);
  WriteRows(512, milliseconds{400}, 60);  // Twice as dear as the larger one, by accident.
  Write(60, milliseconds{1}, 60);
  EXPECT_EQ(sizer_.rows(), 1024);
}

TEST_F(BatchSizerTest, LearnsNothingFromAFewRows) {
  const int64_t before = sizer_.rows();
  for (int i = 0; i < 10; ++i) sizer_.Written(before / 4, microseconds{1});
  EXPECT_EQ(sizer_.rows(), before);
}

TEST_F(BatchSizerTest, HalvesAfterATimeout) {
  const int64_t before = sizer_.rows();
  sizer_.TimedOut();
  EXPECT_EQ(sizer_.rows(), before / 2);
}

TEST(BatchSizerOfOneRowTest, NeverAsksForLess) {
  BatchSizer sizer(1, kTarget);
  sizer.TimedOut();
  EXPECT_EQ(sizer.rows(), 1);
}

}  // namespace
}  // namespace apex::saga
