#include "stores/postgres/peek_cursor.h"

#include <gtest/gtest.h>

namespace apex::postgres {
namespace {

Bound At(int snapshot) {
  const std::string text = std::to_string(snapshot);
  return {text, text, text};
}

/// The open batch reaches from 1 to 2, unless a test says otherwise.
class PeekCursorTest : public testing::Test {
 protected:
  void Begin(const PeekPlace& place, int now, int from = 1, int to = 2) {
    cursor_.Begin(place, At(from), At(to), At(now));
  }
  void ExpectSpan(int from, int to, int64_t after_seq = 0) {
    ASSERT_TRUE(cursor_.span());
    EXPECT_EQ(cursor_.span()->from, At(from));
    EXPECT_EQ(cursor_.span()->to, At(to));
    EXPECT_EQ(cursor_.span()->after_seq, after_seq);
  }

  static constexpr PeekPlace kBatchRead = {.read_through_seq = 70, .batch_read = true};
  static constexpr PeekPlace kInTheBatch = {.read_through_seq = 70, .batch_read = false};

  PeekCursor cursor_;
};

TEST_F(PeekCursorTest, LooksBehindABatchThatWasRead) {
  Begin(kBatchRead, 3);
  ExpectSpan(2, 3);
  EXPECT_TRUE(cursor_.Passed(0, true));
  EXPECT_FALSE(cursor_.span());
}

TEST_F(PeekCursorTest, GoesOnWhereThePieceEnded) {
  Begin(kBatchRead, 3);
  EXPECT_FALSE(cursor_.Passed(90, false));
  ExpectSpan(2, 3, 90);
}

TEST_F(PeekCursorTest, GoesOnWhereItEndedTheLastTime) {
  Begin(kBatchRead, 3);
  cursor_.Passed(0, true);
  Begin(kBatchRead, 4);
  ExpectSpan(3, 4);
}

TEST_F(PeekCursorTest, LooksAtTheRestOfTheOpenBatchBeforeWhatIsBehindIt) {
  Begin(kInTheBatch, 3);
  ExpectSpan(1, 2, 70);
  EXPECT_FALSE(cursor_.Passed(0, true)) << "there may be something behind it";
  Begin(kInTheBatch, 3);
  ExpectSpan(2, 3);
  EXPECT_TRUE(cursor_.Passed(0, true));
}

TEST_F(PeekCursorTest, PassesOverWhatWasReadInTheMeantime) {
  Begin(kInTheBatch, 3);
  EXPECT_FALSE(cursor_.Passed(80, false));
  cursor_.CatchUp({.read_through_seq = 75, .batch_read = false});
  ExpectSpan(1, 2, 80);
  cursor_.CatchUp({.read_through_seq = 95, .batch_read = false});
  ExpectSpan(1, 2, 95);
  cursor_.CatchUp({.read_through_seq = 99, .batch_read = true});
  EXPECT_FALSE(cursor_.span());
  Begin({.read_through_seq = 99, .batch_read = true}, 3);
  ExpectSpan(2, 3);
  cursor_.CatchUp({.read_through_seq = 99, .batch_read = true});
  ExpectSpan(2, 3);
}

TEST_F(PeekCursorTest, LeavesOutOfTheNextBatchWhatItHasSeen) {
  Begin(kBatchRead, 3);
  cursor_.Passed(0, true);
  cursor_.BatchClosed();
  Begin(kInTheBatch, 9, 2, 8);
  ExpectSpan(3, 8, 70);
}

TEST_F(PeekCursorTest, KnowsThatTheNextBatchEndsBehindAllThatItHasSeen) {
  Begin(kBatchRead, 3);
  cursor_.Passed(0, true);
  cursor_.BatchClosed();
  Begin(kBatchRead, 9, 2, 8);
  ExpectSpan(8, 9);
}

TEST_F(PeekCursorTest, BeginsAnewWhenTheBatchIsClosedInTheMiddleOfASpan) {
  Begin(kBatchRead, 3);
  cursor_.Passed(90, false);
  cursor_.BatchClosed();
  EXPECT_FALSE(cursor_.span());
  Begin(kInTheBatch, 9, 2, 8);
  ExpectSpan(2, 8, 70);
}

}  // namespace
}  // namespace apex::postgres
