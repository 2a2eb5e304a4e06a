#include "saga/waiting.h"

#include <gmock/gmock.h>

#include <random>

#include "fixtures.h"

namespace apex::saga {
namespace {

constexpr int64_t kPlenty = 1000;
constexpr int64_t kAllRead = 1'000'000;

std::vector<uint64_t> XidsOf(const Group& group) {
  std::vector<uint64_t> xids;
  for (const SagaPtr& saga : group.sagas) xids.push_back(saga->xid);
  return xids;
}

using testing::ElementsAre;

TEST(WaitingSagasTest, TakesUnrelatedSagasAsGroupsOfTheirOwnInOrder) {
  WaitingSagas waiting;
  waiting.Add(MakeSaga({{1, 10, "a"}}));
  waiting.Add(MakeSaga({{2, 11, "b"}}));
  const auto groups = waiting.Take(kPlenty, {}, kAllRead);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].rows[0].newest->row, Row("a"));
  EXPECT_EQ(groups[1].rows[0].newest->row, Row("b"));
  EXPECT_TRUE(waiting.empty());
  EXPECT_EQ(waiting.changes(), 0);
}

TEST(WaitingSagasTest, JoinsSagasThatAreConnectedThroughOthers) {
  WaitingSagas waiting;
  waiting.Add(MakeSaga({{1, 10, "a"}}));
  waiting.Add(MakeSaga({{2, 11, "other"}}));
  waiting.Add(MakeSaga({{3, 12, "c"}}));
  waiting.Add(MakeSaga({{4, 13, "a", "root"}, {5, 13, "c", "root"}}));
  const auto groups = waiting.Take(kPlenty, {}, kAllRead);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_THAT(XidsOf(groups[0]), ElementsAre(10, 12, 13));
  EXPECT_THAT(XidsOf(groups[1]), ElementsAre(11));
}

TEST(WaitingSagasTest, NeverTakesAnOlderImageWhileANewerOneOfTheRowWaits) {
  WaitingSagas waiting;
  for (int64_t i = 0; i < 10; ++i)
    waiting.Add(MakeSaga({{i + 1, static_cast<uint64_t>(10 + i), "hot"}}));
  const auto groups = waiting.Take(1, {}, kAllRead);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].sagas.size(), 10u);
  EXPECT_EQ(groups[0].rows[0].seq, 10);
}

TEST(WaitingSagasTest, LeavesAGroupThatTouchesABusyKeyWholeAndTakesTheOthers) {
  WaitingSagas waiting;
  waiting.Add(MakeSaga({{1, 10, "a", "root"}}));
  waiting.Add(MakeSaga({{2, 11, "b", "root"}}));
  waiting.Add(MakeSaga({{3, 12, "free"}}));
  const auto groups = waiting.Take(kPlenty, {Row("b")}, kAllRead);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_THAT(XidsOf(groups[0]), ElementsAre(12));
  EXPECT_EQ(waiting.changes(), 2);
  EXPECT_THAT(XidsOf(waiting.Take(kPlenty, {}, kAllRead).at(0)), ElementsAre(10, 11));
}

TEST(WaitingSagasTest, HoldsBackASagaWhoseAggregateIsBusy) {
  WaitingSagas waiting;
  waiting.Add(MakeSaga({{1, 10, "chunk", "doc"}}));
  EXPECT_TRUE(waiting.Take(kPlenty, {Row("doc")}, kAllRead).empty());
}

TEST(WaitingSagasTest, HoldsBackAGroupThatReachesBeyondWhatHasBeenReadInOrder) {
  WaitingSagas waiting;
  waiting.Add(MakeSaga({{1, 10, "a", "root"}, {9, 10, "b", "root"}}));
  waiting.Add(MakeSaga({{2, 11, "free"}}));
  const auto groups = waiting.Take(kPlenty, {}, 4);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_THAT(XidsOf(groups[0]), ElementsAre(11));
  waiting.Add(MakeSaga({{5, 12, "b"}}));
  EXPECT_TRUE(waiting.Take(kPlenty, {}, 8).empty());
  EXPECT_THAT(XidsOf(waiting.Take(kPlenty, {}, 9).at(0)), ElementsAre(12, 10))
      << "the newest image of b is that of 9";
}

TEST(WaitingSagasTest, StopsAtTheRowsAskedForButNeverCutsAGroup) {
  WaitingSagas waiting;
  waiting.Add(MakeSaga({{1, 10, "a"}, {2, 10, "a1", "a"}, {3, 10, "a2", "a"}}));
  waiting.Add(MakeSaga({{4, 11, "b"}}));
  const auto groups = waiting.Take(2, {}, kAllRead);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].rows.size(), 3u);
  EXPECT_FALSE(waiting.empty());
}

TEST(WaitingSagasTest, TakesInvalidationsByHandBesidesTheRows) {
  WaitingSagas waiting;
  for (int i = 1; i <= 5; ++i) {
    const std::string name = "v" + std::to_string(i);
    waiting.Add(MakeSaga({{i, 10, name, "", 0, Operation::kInvalidate, {Store::kRedis}}}));
  }
  waiting.Add(MakeSaga({{6, 11, "a"}}));
  waiting.Add(MakeSaga({{7, 12, "b"}}));
  EXPECT_EQ(waiting.Take(1, {}, kAllRead).size(), 6u);
  EXPECT_EQ(waiting.Take(1, {}, kAllRead).size(), 1u);
}

TEST(WaitingSagasTest, HandsOutEverySagaOnceWhateverTheOrderAndTheBusyKeys) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    WaitingSagas waiting;
    std::set<uint64_t> left;
    for (int64_t seq = 1; seq <= 40; ++seq) {
      const auto xid = static_cast<uint64_t>(seq);
      waiting.Add(MakeSaga({{seq, xid, "row " + std::to_string(random() % 12),
                             "root " + std::to_string(random() % 30)}}));
      left.insert(xid);
    }
    while (!waiting.empty()) {
      RowSet busy;
      if (random() % 2 == 0) busy.insert(Row("row " + std::to_string(random() % 12)));
      RowSet seen;
      for (const Group& group :
           waiting.Take(static_cast<int64_t>(1 + random() % 10), busy, kAllRead)) {
        for (const RowId& key : group.keys) {
          EXPECT_FALSE(busy.contains(key)) << "seed " << seed;
          EXPECT_TRUE(seen.insert(key).second)
              << "two groups share " << key.key << ", seed " << seed;
        }
        for (const SagaPtr& saga : group.sagas)
          EXPECT_EQ(left.erase(saga->xid), 1u) << "seed " << seed;
      }
    }
    EXPECT_TRUE(left.empty()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace apex::saga
