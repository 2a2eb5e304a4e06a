#include "stores/postgres/batch_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

namespace apex::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Event `seq` of transaction `xid` and the aggregate `key`.
ChangePtr Event(int64_t seq, uint64_t xid = 1, const std::string& key = "[1]") {
  auto change = std::make_shared<Change>();
  change->seq = seq;
  change->xid = xid;
  change->row = change->aggregate = {1, key};
  return change;
}

/// Events that are sagas of their own.
std::vector<ChangePtr> Events(std::initializer_list<int64_t> seqs) {
  std::vector<ChangePtr> events;
  for (const int64_t seq : seqs) events.push_back(Event(seq, static_cast<uint64_t>(seq)));
  return events;
}

std::vector<int64_t> Seqs(const Piece& piece) {
  std::vector<int64_t> seqs;
  for (const ChangePtr& change : piece.changes) seqs.push_back(change->seq);
  return seqs;
}

/// What PostgreSQL answers when asked for `rows_max` events; those behind them are fetched ahead.
Piece Accept(BatchReader& reader, std::vector<ChangePtr> events, size_t rows_max) {
  PieceChanges read;
  const size_t run = std::min(rows_max, events.size());
  if (run > 0) read.through_seq = events[run - 1]->seq;
  read.batch_end = run < rows_max;
  read.changes = std::move(events);
  return reader.Accept(std::move(read));
}

TEST(BatchReaderTest, SaysThatNothingIsPendingWhenNoBatchWasOpened) {
  BatchReader reader;
  EXPECT_EQ(reader.after(), 0);
  EXPECT_FALSE(reader.window_end());
  EXPECT_TRUE(Accept(reader, {}, 10).nothing_pending());
}

TEST(BatchReaderTest, AShortPieceEndsTheBatch) {
  BatchReader reader;
  const Piece piece = Accept(reader, Events({3, 5}), 3);
  EXPECT_THAT(Seqs(piece), ElementsAre(3, 5));
  EXPECT_EQ(piece.through_seq, 5);
  EXPECT_TRUE(piece.batch_end);
}

TEST(BatchReaderTest, APieceThatWasCutForItsBytesDoesNotEndTheBatch) {
  BatchReader reader;
  const Piece piece = reader.Accept({Events({3, 5, 9}), /*through_seq=*/5, /*batch_end=*/false});
  EXPECT_THAT(Seqs(piece), ElementsAre(3, 5, 9));
  EXPECT_EQ(piece.through_seq, 5);
  EXPECT_FALSE(piece.batch_end);
}

TEST(BatchReaderTest, AFullPieceIsFollowedFromItsLastSeq) {
  BatchReader reader;
  const Piece piece = Accept(reader, Events({3, 5}), 2);
  EXPECT_FALSE(piece.batch_end);
  EXPECT_EQ(reader.after(), 5);
  const Piece end = Accept(reader, {}, 2);
  EXPECT_TRUE(end.batch_end);
  EXPECT_EQ(end.through_seq, 5);
  EXPECT_FALSE(end.nothing_pending());
}

TEST(BatchReaderTest, EventsFetchedAheadAreLeftOutWhenTheirTurnComes) {
  BatchReader reader;
  // Saga 1 has 1, 2 and 5; only 1 and 2 fit.
  const Piece first = Accept(reader, {Event(1), Event(2), Event(5)}, 2);
  EXPECT_THAT(Seqs(first), ElementsAre(1, 2, 5));
  EXPECT_EQ(first.through_seq, 2);
  EXPECT_FALSE(first.batch_end);
  const Piece second = Accept(reader, {Event(3, 3), Event(4, 4)}, 2);
  EXPECT_THAT(Seqs(second), ElementsAre(3, 4));
  const Piece third = Accept(reader, {Event(5), Event(6, 6)}, 2);
  EXPECT_THAT(Seqs(third), ElementsAre(6));
  EXPECT_EQ(third.through_seq, 6);
}

TEST(BatchReaderTest, EventsFetchedAheadTwiceAreHandedOutOnce) {
  BatchReader reader;
  EXPECT_THAT(Seqs(Accept(reader, {Event(1), Event(9)}, 1)), ElementsAre(1, 9));
  EXPECT_THAT(Seqs(Accept(reader, {Event(2), Event(9)}, 1)), ElementsAre(2));
}

TEST(BatchReaderTest, APieceWhollyHandedOutAheadIsEmptyButDoesNotEndTheBatch) {
  BatchReader reader;
  (void)Accept(reader, {Event(1), Event(2)}, 1);
  const Piece piece = Accept(reader, {Event(2)}, 1);
  EXPECT_THAT(piece.changes, IsEmpty());
  EXPECT_FALSE(piece.batch_end);
  EXPECT_FALSE(piece.nothing_pending());
  EXPECT_EQ(piece.through_seq, 2);
}

TEST(BatchReaderTest, TheFirstPieceAfterATakeoverIsTheWholeWindow) {
  BatchReader reader(10, 20);
  EXPECT_EQ(reader.after(), 10);
  EXPECT_EQ(reader.window_end(), 20);
  std::vector<ChangePtr> events = Events({11, 15, 20});
  events.push_back(Event(25, 11));  // ahead, with the saga of event 11
  const Piece window = Accept(reader, std::move(events), 2);
  EXPECT_THAT(Seqs(window), ElementsAre(11, 15, 20, 25));
  EXPECT_EQ(window.through_seq, 20);
  EXPECT_FALSE(window.batch_end);
  EXPECT_FALSE(reader.window_end());
  EXPECT_EQ(reader.after(), 20);
  EXPECT_THAT(Seqs(Accept(reader, {Event(25, 11)}, 2)), IsEmpty());
}

TEST(BatchReaderTest, AWindowOfWhichNothingIsLeftToDoIsEmpty) {
  BatchReader reader(10, 20);
  const Piece window = Accept(reader, {}, 100);
  EXPECT_THAT(window.changes, IsEmpty());
  EXPECT_EQ(window.through_seq, 20);
  EXPECT_FALSE(window.nothing_pending());
}

TEST(BatchReaderTest, CountsASagaThatGoesOnInALaterPieceAsSplit) {
  BatchReader reader;
  EXPECT_EQ(Accept(reader, {Event(1), Event(2)}, 2).sagas_split, 0);
  EXPECT_EQ(Accept(reader, {Event(3), Event(4), Event(5, 5)}, 3).sagas_split, 1);
  EXPECT_EQ(Accept(reader, {Event(6, 6)}, 3).sagas_split, 0);
}

TEST(BatchReaderTest, OneAggregateInTwoTransactionsIsNotSplit) {
  BatchReader reader;
  (void)Accept(reader, {Event(1, 1)}, 1);
  EXPECT_EQ(Accept(reader, {Event(2, 2)}, 1).sagas_split, 0);
}

TEST(BatchReaderTest, BeginsAnewAfterAClose) {
  BatchReader reader;
  (void)Accept(reader, {Event(7), Event(9)}, 1);
  reader.Close();
  EXPECT_EQ(reader.after(), 0);
  // A straggler may come with a lower seq than the batch before had.
  EXPECT_THAT(Seqs(Accept(reader, {Event(3), Event(9)}, 5)), ElementsAre(3, 9));
}

}  // namespace
}  // namespace apex::postgres
