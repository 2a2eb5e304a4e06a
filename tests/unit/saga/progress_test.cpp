#include "saga/progress.h"

#include "fixtures.h"

namespace apex::saga {
namespace {

Piece PieceOf(std::initializer_list<ChangeSpec> specs, int64_t through_seq, bool batch_end) {
  return {Make(specs), through_seq, batch_end, 0};
}

int64_t SettledSeq(const Progress& progress) {
  return progress.Next().value_or(CheckpointRequest{-1, false, {}}).settled_seq;
}

TEST(ProgressTest, HasNothingToRecordBeforeABatchIsOpen) {
  Progress progress;
  EXPECT_EQ(progress.Next(), std::nullopt);
  progress.PieceRead(PieceOf({}, 0, true));
  EXPECT_EQ(progress.Next(), std::nullopt);
  EXPECT_FALSE(progress.batch_read());
}

TEST(ProgressTest, StopsBeforeTheOldestUnsettledChange) {
  Progress progress;
  const auto changes = Make({{10, 1, "a"}, {20, 2, "b"}, {30, 3, "c"}});
  progress.PieceRead({changes, 30, false, 0});
  progress.Settled(*changes[0]);
  progress.Settled(*changes[2]);
  EXPECT_EQ(SettledSeq(progress), 19);
  EXPECT_EQ(progress.unsettled(), 1);
  EXPECT_EQ(progress.window(), 2) << "a successor reads 20 and 30 again";
  progress.Settled(*changes[1]);
  EXPECT_EQ(SettledSeq(progress), 30);
  EXPECT_EQ(progress.window(), 0);
}

TEST(ProgressTest, DoesNotPassWhatHasNotBeenReadWhenAPulledAheadSeqIsSettled) {
  Progress progress;
  const auto changes = Make({{10, 1, "a"}, {50, 1, "a"}});
  progress.PieceRead({changes, 12, false, 0});
  for (const ChangePtr& change : changes) progress.Settled(*change);
  EXPECT_EQ(SettledSeq(progress), 12);
}

TEST(ProgressTest, WaitsForAPulledAheadSeqOnceTheReadingHasPassedIt) {
  Progress progress;
  const auto changes = Make({{10, 1, "a"}, {50, 1, "a"}});
  progress.PieceRead({changes, 12, false, 0});
  progress.PieceRead(PieceOf({}, 60, true));
  progress.Settled(*changes[0]);
  EXPECT_EQ(SettledSeq(progress), 49);
}

TEST(ProgressTest, SaysNothingTwice) {
  Progress progress;
  const auto changes = Make({{10, 1, "a"}, {20, 2, "b"}});
  progress.PieceRead({changes, 20, false, 0});
  progress.Settled(*changes[0]);
  const auto request = progress.Next();
  ASSERT_TRUE(request.has_value());
  EXPECT_FALSE(request->close);
  progress.Recorded(*request);
  EXPECT_EQ(progress.Next(), std::nullopt);
}

TEST(ProgressTest, ClosesTheBatchWhenItIsReadAndSettled) {
  Progress progress;
  const auto changes = Make({{10, 1, "a"}});
  progress.PieceRead({changes, 10, true, 0});
  EXPECT_TRUE(progress.batch_read());
  progress.Settled(*changes[0]);
  const auto request = progress.Next();
  ASSERT_TRUE(request.has_value());
  EXPECT_TRUE(request->close);
  progress.Recorded(*request);
  EXPECT_FALSE(progress.batch_read());
  EXPECT_EQ(progress.Next(), std::nullopt);
}

TEST(ProgressTest, ClosesABatchWhoseEventsAllBelongToRecordedFailures) {
  Progress progress;
  progress.PieceRead(PieceOf({}, 40, true));
  ASSERT_TRUE(progress.Next().has_value());
  EXPECT_TRUE(progress.Next()->close);
}

TEST(ProgressTest, BeginsAnewWithABatchOfLowerSeqs) {
  Progress progress;
  const auto first = Make({{100, 1, "a"}});
  progress.PieceRead({first, 100, true, 0});
  progress.Settled(*first[0]);
  progress.Recorded(*progress.Next());
  const auto straggler = Make({{50, 2, "b"}, {60, 3, "c"}});
  progress.PieceRead({straggler, 60, false, 0});
  EXPECT_EQ(progress.Next(), std::nullopt) << "nothing of it is settled";
  progress.Settled(*straggler[0]);
  EXPECT_EQ(SettledSeq(progress), 59);
}

TEST(ProgressTest, KnowsTheCaptureTimeOfTheOldestUnsettledChange) {
  Progress progress;
  EXPECT_EQ(progress.oldest_captured_at_us(), std::nullopt);
  const auto changes = Make({{10, 1, "a"}, {20, 2, "b"}});
  progress.PieceRead({changes, 20, true, 0});
  EXPECT_EQ(progress.oldest_captured_at_us(), changes[0]->captured_at_us);
  progress.Settled(*changes[0]);
  EXPECT_EQ(progress.oldest_captured_at_us(), changes[1]->captured_at_us);
}

}  // namespace
}  // namespace apex::saga
