// Permanent refusals (rule E4): who is at fault, the sagas or the store.
#include <gmock/gmock.h>

#include "fixtures.h"

namespace apex::saga {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class EngineHalvingTest : public EngineTest {
 protected:
  std::vector<std::string> AggregatesRecorded() const {
    std::vector<std::string> keys;
    for (const RecordFailure& failure : All<RecordFailure>())
      keys.push_back(failure.record.aggregate.key);
    return keys;
  }
};

TEST_F(EngineHalvingTest, IsolatesOnePoisonRowAndLetsItsNeighboursSettle) {
  StartFresh();
  Deliver({{1, 10, "a"},
           {2, 11, "b"},
           {3, 12, "poison"},
           {4, 13, "d"},
           {5, 14, "e"},
           {6, 15, "f"},
           {7, 16, "g"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"poison"});
  AnswerProbe({});
  AnswerRefusing(kQdrant, {"poison"});
  AnswerProbe({});
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("poison"));
  const FailureRecord record = All<RecordFailure>().front().record;
  EXPECT_EQ(record.failed_step, "write_qdrant");
  EXPECT_EQ(record.error_type, "refused");
  EXPECT_EQ(record.error, "the store's own words");
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint().settled_seq, 2) << "the poison row is not settled";
  EXPECT_EQ(SagasThatSucceeded(), 6);
  EXPECT_THAT(Compensate(), ElementsAre(kQdrant, kNeo4j));
  EXPECT_TRUE(WriteCheckpoint().close);
}

TEST_F(EngineHalvingTest, FindsOnePoisonRowAmongTenThousandInTwiceTheirLogarithm) {
  constexpr int64_t kRows = 10000;
  constexpr int kHalvings = 14;  // The logarithm of kRows, rounded up.
  EngineOptions options = Options();
  options.piece_rows_max = kRows;
  options.batch_rows_max = 4 * kRows;  // Batches begin with a quarter of it.
  StartFresh(options);
  std::vector<ChangePtr> changes;
  for (int64_t seq = 1; seq <= kRows; ++seq) {
    const std::string key = seq == 7777 ? "poison" : std::to_string(seq);
    changes.push_back(Make({.seq = seq, .xid = static_cast<uint64_t>(seq), .key = key}));
  }
  Take<Read>();
  Send(PieceArrived{Piece{std::move(changes), kRows, true, 0}});
  AcceptAll(kNeo4j);
  int writes = 0;
  while (HasWrite(kQdrant)) {
    const Write write = TakeWrite(kQdrant);
    ++writes;
    const auto keys = KeysOf(write.rows);
    const bool refused = std::find(keys.begin(), keys.end(), "poison") != keys.end();
    Answer(write, refused ? Status(Refused(kQdrant)) : Status());
    if (Has<Probe>()) AnswerProbe({});
  }
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("poison"));
  EXPECT_LE(writes, 1 + 2 * kHalvings + 1) << "once, the halves, and the proof";
  AcceptAll();
  EXPECT_EQ(SagasThatSucceeded(), 0) << "told with the checkpoint";
  WriteCheckpoint();
  EXPECT_EQ(SagasThatSucceeded(), kRows - 1);
}

TEST_F(EngineHalvingTest, DoesNotWriteTheGraphAgainForEachHalf) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "poison"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"poison"});
  EXPECT_FALSE(HasWrite(kNeo4j));
}

TEST_F(EngineHalvingTest, IsolatesThePoisonOfTwoStoresInOneBatch) {
  StartFresh();
  Deliver(
      {{1, 10, "a"}, {2, 11, "bad node"}, {3, 12, "bad point"}, {4, 13, "d"}, {5, 14, "bad both"}});
  for (int i = 0; i < 40; ++i) {
    AnswerRefusing(kNeo4j, {"bad node", "bad both"});
    AnswerRefusing(kQdrant, {"bad point", "bad both"});
    if (Has<Probe>()) AnswerProbe({});
  }
  EXPECT_THAT(AggregatesRecorded(),
              testing::UnorderedElementsAre("bad node", "bad point", "bad both"));
}

TEST_F(EngineHalvingTest, IsolatesAPoisonRowThatOnlyTheCacheRefuses) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "poison"}, {3, 12, "c"}});
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  AnswerRefusing(kRedis, {"poison"});
  AnswerProbe({});
  AnswerRefusing(kRedis, {"poison"});
  AnswerProbe({});
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("poison"));
  EXPECT_THAT(Compensate(), ElementsAre(kRedis, kQdrant, kNeo4j));
}

TEST_F(EngineHalvingTest, FailsACoalescedGroupAsAUnit) {
  StartFresh();
  Deliver({{1, 10, "doc"}, {2, 10, "poison", "doc"}, {3, 11, "doc"}, {4, 12, "other"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"poison"});
  AnswerProbe({});
  AnswerRefusing(kQdrant, {"poison"});
  AnswerProbe({});
  ASSERT_THAT(All<RecordFailure>(), SizeIs(1));
  const FailureRecord record = All<RecordFailure>().front().record;
  EXPECT_THAT(record.events, ElementsAre(1, 2, 3));
  EXPECT_THAT(record.xids, ElementsAre(10, 11));
  ASSERT_THAT(record.rows, SizeIs(2));
  EXPECT_EQ(record.rows[0].failed_seq, 3);
  EXPECT_EQ(record.rows[0].first_seq, 1);
}

TEST_F(EngineHalvingTest, AsksTheStoreBeforeItBlamesWhenEverythingIsRefusedAlike) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "c"}, {4, 13, "d"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"a", "b", "c", "d"});
  EXPECT_FALSE(Has<RecordFailure>());
  EXPECT_THAT(All<Probe>(), SizeIs(1));
}

TEST_F(EngineHalvingTest, ParksWhatIsRefusedAgainAfterTheStoreProvedToTakeWrites) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"a", "b"});
  AnswerProbe({});
  EXPECT_FALSE(Has<RecordFailure>()) << "the refusals may be from before the store took writes";
  AnswerRefusing(kQdrant, {"a", "b"});
  AnswerProbe({});
  EXPECT_THAT(AggregatesRecorded(), testing::UnorderedElementsAre("a", "b"));
}

TEST_F(EngineHalvingTest, HoldsAndParksNothingWhileTheStoreRefusesEverybodyThenRecovers) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"a", "b"});
  Time last{0};
  for (int i = 0; i < 3; ++i) {
    AnswerProbe(Refused(kQdrant));
    EXPECT_FALSE(HasWrite(kQdrant)) << "only probes go to a store that refuses everything";
    ASSERT_TRUE(engine_->next_tick().has_value());
    const Time delay = *engine_->next_tick() - now_;
    EXPECT_GT(delay, last);
    last = delay;
    PassToNextTick();
  }
  AnswerProbe({});
  AcceptAll();
  EXPECT_FALSE(Has<RecordFailure>());
  EXPECT_TRUE(WriteCheckpoint().close);
}

TEST_F(EngineHalvingTest, ParksNobodyWhenTheStoreBeganToRefuseEverythingMidway) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "poison"}, {4, 13, "d"}});
  AcceptAll(kNeo4j);
  Answer(TakeWrite(kQdrant), Refused(kQdrant));
  Answer(TakeWrite(kQdrant));  // One half is accepted, then the disk is full.
  AnswerRefusing(kQdrant, {"poison", "d"});
  AnswerProbe(Refused(kQdrant));
  EXPECT_FALSE(Has<RecordFailure>());
  PassToNextTick();
  AnswerProbe({});
  AnswerRefusing(kQdrant, {"poison"});
  AnswerProbe({});
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("poison"));
}

TEST_F(EngineHalvingTest, ParksNobodyWhenTheStoreBeganToRefuseEverythingAfterTheProbe) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"a"});
  AnswerProbe({});
  AnswerRefusing(kQdrant, {"a"});
  AnswerProbe(Refused(kQdrant));
  EXPECT_FALSE(Has<RecordFailure>());
  PassToNextTick();
  AnswerProbe({});
  EXPECT_FALSE(Has<RecordFailure>())
      << "the last refusal is from before the store took writes again";
  AnswerRefusing(kQdrant, {"a"});
  AnswerProbe({});
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("a"));
}

TEST_F(EngineHalvingTest, HoldsNewcomersToARefusingStoreUntilTheProbeSucceeds) {
  StartFresh();
  Deliver({{1, 10, "a"}}, false);
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"a"});
  AnswerProbe(Transient(kQdrant));
  Deliver({{2, 11, "b"}}, false);
  EXPECT_FALSE(HasWrite(kQdrant));
  PassToNextTick();
  EXPECT_TRUE(Has<Probe>());
  EXPECT_FALSE(HasWrite(kQdrant));
  AnswerProbe({});
  EXPECT_TRUE(HasWrite(kQdrant));
}

TEST_F(EngineHalvingTest, StopsWhenTheProbeIsFenced) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Answer(TakeWrite(kQdrant), Refused(kQdrant));
  AcceptAll(kNeo4j);
  AnswerProbe(Fenced(kQdrant));
  EXPECT_TRUE(Has<Stop>());
}

TEST_F(EngineHalvingTest, NeverGivesUpUnlessTold) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  for (int i = 0; i < 100; ++i) {
    Answer(TakeWrite(kQdrant), Transient(kQdrant));
    Pass(Time{3'600'000});
  }
  EXPECT_FALSE(Has<RecordFailure>());
}

class EngineGiveUpTest : public EngineHalvingTest {
 protected:
  void SetUp() override {
    EngineOptions options = Options();
    options.give_up_after = Time{5000};
    StartFresh(options);
  }

  void FailQdrantForTooLong() {
    Answer(TakeWrite(kQdrant), Transient(kQdrant));
    Pass(Time{6000});
    Answer(TakeWrite(kQdrant), Transient(kQdrant));
  }
};

TEST_F(EngineGiveUpTest, ParksABatchWhoseStoreFailsForTooLong) {
  Deliver({{1, 10, "a"}, {2, 11, "b"}});
  AcceptAll(kNeo4j);
  FailQdrantForTooLong();
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("a", "b"));
  EXPECT_EQ(All<RecordFailure>().front().record.error_type, "gave_up");
}

TEST_F(EngineGiveUpTest, WaitsForTheBatchsOtherStepBeforeItUndoesAnything) {
  Deliver({{1, 10, "a"}});
  FailQdrantForTooLong();
  EXPECT_FALSE(Has<RecordFailure>()) << "the graph may still apply its part";
  Answer(TakeWrite(kNeo4j));
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("a"));
}

TEST_F(EngineGiveUpTest, SparesTheGroupsThatDoNotNeedTheStore) {
  Deliver({{1, 10, "a"}, {2, 11, "node only", "", 0, Operation::kUpdate, {kNeo4j, kRedis}}});
  AcceptAll(kNeo4j);
  FailQdrantForTooLong();
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("a"));
  EXPECT_FALSE(HasWrite(kNeo4j)) << "the graph holds it already";
  Send(EvictFinished{Take<Evict>().eviction, {}});
  EXPECT_THAT(KeysOf(TakeWrite(kRedis).rows), ElementsAre("node only"));
}

TEST_F(EngineGiveUpTest, ParksWhatAStoreThatRefusesEverybodyHoldsForTooLong) {
  Deliver({{1, 10, "a"}});
  AcceptAll(kNeo4j);
  AnswerRefusing(kQdrant, {"a"});
  AnswerProbe(Refused(kQdrant));
  Pass(Time{6000});
  AnswerProbe(Refused(kQdrant));
  EXPECT_THAT(AggregatesRecorded(), ElementsAre("a"));
  EXPECT_EQ(All<RecordFailure>().front().record.error_type, "gave_up");
}

}  // namespace
}  // namespace apex::saga
