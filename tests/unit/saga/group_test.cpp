#include "saga/group.h"

#include <gmock/gmock.h>

#include "fixtures.h"

namespace apex::saga {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

std::vector<int64_t> SeqsOf(const Few<ChangePtr>& changes) {
  std::vector<int64_t> seqs;
  for (const ChangePtr& change : changes) seqs.push_back(change->seq);
  return seqs;
}

TEST(GroupIntoSagasTest, PutsTheChangesOfOneTransactionToOneAggregateTogether) {
  const auto sagas =
      GroupIntoSagas(Make({{1, 10, "doc"}, {2, 10, "chunk 1", "doc"}, {3, 10, "chunk 2", "doc"}}));
  ASSERT_EQ(sagas.size(), 1u);
  EXPECT_EQ(sagas[0]->aggregate, Row("doc"));
  EXPECT_EQ(sagas[0]->xid, 10u);
  EXPECT_THAT(SeqsOf(sagas[0]->changes), ElementsAre(1, 2, 3));
}

TEST(GroupIntoSagasTest, SeparatesTransactionsAndAggregatesAndOrdersThemByTheirLastSeq) {
  const auto sagas =
      GroupIntoSagas(Make({{1, 10, "a"}, {2, 11, "b"}, {3, 10, "c"}, {4, 11, "b"}, {5, 10, "a"}}));
  ASSERT_EQ(sagas.size(), 3u);
  EXPECT_THAT(SeqsOf(sagas[0]->changes), ElementsAre(3));
  EXPECT_THAT(SeqsOf(sagas[1]->changes), ElementsAre(2, 4));
  EXPECT_THAT(SeqsOf(sagas[2]->changes), ElementsAre(1, 5));
}

TEST(CoalesceTest, LetsTheNewestImageOfARowStandForAll) {
  const Group group =
      Coalesce({MakeSaga({{7, 12, "a"}}), MakeSaga({{3, 10, "a"}}), MakeSaga({{5, 11, "a"}})});
  ASSERT_EQ(group.rows.size(), 1u);
  EXPECT_EQ(group.rows[0].newest->seq, 7);
  EXPECT_EQ(group.rows[0].seq, 7);
  EXPECT_THAT(SeqsOf(group.rows[0].changes), ElementsAre(3, 5, 7));
  EXPECT_EQ(group.sagas.front()->xid, 10u);
}

TEST(CoalesceTest, OrdersByCommandInsideATransactionAndTakesTheHighestSeqAsVersion) {
  // A trigger that updates its own row captures the later image (command 2) first.
  const Group group = Coalesce({MakeSaga({{5, 10, "a", "", 2}, {6, 10, "a", "", 1}})});
  ASSERT_EQ(group.rows.size(), 1u);
  EXPECT_EQ(group.rows[0].newest->seq, 5);
  EXPECT_EQ(group.rows[0].seq, 6);
  EXPECT_THAT(SeqsOf(group.rows[0].changes), ElementsAre(6, 5));
}

TEST(CoalesceTest, OrdersTransactionsBySeqWhateverTheirCommands) {
  const Group group = Coalesce(
      {MakeSaga({{1, 20, "a", "", 9}, {2, 20, "a", "", 8}}), MakeSaga({{3, 10, "a", "", 0}})});
  EXPECT_THAT(SeqsOf(group.rows[0].changes), ElementsAre(2, 1, 3));
  EXPECT_EQ(group.rows[0].newest->seq, 3);
}

TEST(CoalesceTest, JoinsTheChangesOfARowThatMovedBetweenAggregatesInOneTransaction) {
  const auto sagas = GroupIntoSagas(Make({{1, 10, "chunk", "old", 1}, {2, 10, "chunk", "new", 2}}));
  ASSERT_EQ(sagas.size(), 2u);
  const Group group = Coalesce(sagas);
  ASSERT_EQ(group.rows.size(), 1u);
  EXPECT_EQ(group.rows[0].newest->aggregate, Row("new"));
  EXPECT_THAT(group.keys, UnorderedElementsAre(Row("chunk"), Row("old"), Row("new")));
}

TEST(GroupTest, NeedsTheStoresThatTheNewestMappingsName) {
  const Group group =
      Coalesce({MakeSaga({{1, 10, "a", "", 0, Operation::kUpdate, {kNeo4j}},
                          {2, 10, "b", "a", 0, Operation::kUpdate, {kNeo4j, kRedis}}})});
  EXPECT_TRUE(group.Needs(kNeo4j));
  EXPECT_FALSE(group.Needs(kQdrant));
  EXPECT_TRUE(group.Needs(kRedis));
}

TEST(GroupTest, AnInvalidationByHandNeedsTheCacheAlone) {
  const Group group = Coalesce(
      {MakeSaga({{1, 10, "a", "", 0, Operation::kInvalidate, {kNeo4j, kQdrant, kRedis}}})});
  EXPECT_FALSE(group.Needs(kNeo4j));
  EXPECT_FALSE(group.Needs(kQdrant));
  EXPECT_TRUE(group.Needs(kRedis));
}

TEST(GroupTest, IsUnencodableOnlyWhenTheNewestChangeOfARowIs) {
  const ChangeSpec bad{1, 10, "a", "", 0, Operation::kUpdate, {kNeo4j}, "column title of row a"};
  EXPECT_NE(Coalesce({MakeSaga({bad})}).Unencodable(), nullptr);
  EXPECT_EQ(Coalesce({MakeSaga({bad}), MakeSaga({{2, 11, "a"}})}).Unencodable(), nullptr);
}

TEST(GroupTest, IsReplayedWhenAnyOfItsSagasIs) {
  const auto before = GroupIntoSagas(Make({{1, 10, "a"}}), true);
  const auto after = GroupIntoSagas(Make({{2, 11, "a"}}));
  EXPECT_TRUE(Coalesce({before[0], after[0]}).Replayed());
  EXPECT_FALSE(Coalesce({after[0]}).Replayed());
}

}  // namespace
}  // namespace apex::saga
