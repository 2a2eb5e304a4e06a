// TRUNCATE (rule E9): a barrier in its table, never blamed, never compensated.
#include <gmock/gmock.h>

#include "fixtures.h"

namespace apex::saga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class EngineTruncationsTest : public EngineTest {
 protected:
  static ChangeSpec Truncate(int64_t seq, uint64_t xid) {
    ChangeSpec spec;
    spec.seq = seq;
    spec.xid = xid;
    spec.key = "[]";
    spec.op = Operation::kTruncate;
    return spec;
  }

  /// A row of another table.
  static ChangeSpec Elsewhere(int64_t seq, uint64_t xid, const std::string& key) {
    ChangeSpec spec;
    spec.seq = seq;
    spec.xid = xid;
    spec.key = key;
    spec.relation = 2;
    return spec;
  }

  /// What every outstanding write of the graph is about.
  std::vector<std::string> SentToGraph() const {
    std::vector<std::string> keys;
    for (const Write& write : All<Write>()) {
      if (write.store != kNeo4j) continue;
      for (const std::string& key : KeysOf(write.rows)) keys.push_back(key);
    }
    return keys;
  }
};

TEST_F(EngineTruncationsTest, StandsForEverythingOlderThatHasNotBeenSent) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}, Truncate(3, 12)});
  ASSERT_THAT(All<Evict>(), SizeIs(1));
  EXPECT_THAT(KeysOf(All<Evict>()[0].rows), ElementsAre("[]"));
  EXPECT_THAT(SentToGraph(), ElementsAre("[]"));
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{2, false, {}}));
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{3, true, {}}));
  EXPECT_EQ(engine_->active_sagas(), 0);
  EXPECT_EQ(engine_->unsettled_changes(), 0);
}

TEST_F(EngineTruncationsTest, WaitsForWhatIsInFlightAndHoldsUpWhatIsNewer) {
  StartFresh();
  Deliver({{1, 10, "a"}}, /*batch_end=*/false);
  Deliver({{2, 11, "b"}, Truncate(3, 12), {4, 13, "c"}, Elsewhere(5, 14, "d")});
  EXPECT_THAT(SentToGraph(), UnorderedElementsAre("a", "d"));
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  EXPECT_THAT(SentToGraph(), IsEmpty()) << "a is in no cache yet";
  AcceptAll(kRedis);
  EXPECT_THAT(SentToGraph(), ElementsAre("[]"));
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  EXPECT_THAT(SentToGraph(), IsEmpty());
  AcceptAll(kRedis);
  EXPECT_THAT(SentToGraph(), ElementsAre("c"));
}

TEST_F(EngineTruncationsTest, HoldsUpNoOtherTableHoweverLongItTakes) {
  EngineOptions options = Options();
  options.batches_in_flight_max = 1;
  StartFresh(options);
  Deliver({Truncate(1, 10), Elsewhere(2, 11, "a")}, /*batch_end=*/false);
  AnswerEvictions();
  EXPECT_THAT(SentToGraph(), UnorderedElementsAre("[]", "a"));
}

TEST_F(EngineTruncationsTest, TakesOnlyItsOwnTablesChangesOutOfASaga) {
  EngineOptions options = Options();
  options.batches_in_flight_max = 1;
  StartFresh(options);
  Deliver({Elsewhere(1, 10, "blocking")}, /*batch_end=*/false);
  ChangeSpec document = Elsewhere(2, 11, "document");
  ChangeSpec chunk{3, 11, "chunk", "document"};
  chunk.aggregate_relation = 2;
  Deliver({document, chunk}, /*batch_end=*/false);
  Deliver({Truncate(4, 12)});
  AcceptAll();
  EXPECT_THAT(All<Write>(), IsEmpty());
  EXPECT_EQ(engine_->unsettled_changes(), 0);
  EXPECT_EQ(engine_->active_sagas(), 0);
}

TEST_F(EngineTruncationsTest, ANewerOneTakesThePlaceOfOneThatWaits) {
  StartFresh();
  Deliver({{1, 10, "a"}}, /*batch_end=*/false);
  Deliver({Truncate(2, 11)}, /*batch_end=*/false);
  Deliver({{3, 12, "b"}, Truncate(4, 13)});
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{4, true, {}}));
  EXPECT_EQ(engine_->active_sagas(), 0);
}

TEST_F(EngineTruncationsTest, OneHandedOutAheadWaitsForItsTurnAndVoidsWhatComesInBetween) {
  StartFresh();
  DeliverThrough(1, {Truncate(1, 10), Truncate(5, 10)}, /*batch_end=*/false);
  EXPECT_THAT(SentToGraph(), IsEmpty());
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{1, false, {}}));
  DeliverThrough(5, {{3, 10, "a"}}, /*batch_end=*/true);
  EXPECT_THAT(SentToGraph(), ElementsAre("[]"));
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{4, false, {}}));
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{5, true, {}}));
}

TEST_F(EngineTruncationsTest, ARefusalIsTheStoresFaultAndIsRepeated) {
  EngineOptions options = Options();
  options.give_up_after = Time{1};
  StartFresh(options);
  Deliver({Truncate(1, 10)});
  AcceptAll(kQdrant);
  Answer(TakeWrite(kNeo4j), Refused(kNeo4j));
  EXPECT_FALSE(Has<Probe>());
  EXPECT_FALSE(HasWrite(kNeo4j));
  PassToNextTick();
  Answer(TakeWrite(kNeo4j), Unknown(kNeo4j));
  PassToNextTick();
  EXPECT_FALSE(Has<RecordFailure>());
  AcceptAll();
  EXPECT_TRUE(Has<Checkpoint>());
}

TEST_F(EngineTruncationsTest, SupersedesWhatWasParkedBeforeItAndNothingLater) {
  Leadership leadership;
  leadership.parked_rows = {{Row("older"), 1}, {Row("newer"), 9}, {{2, "elsewhere"}, 1}};
  StartFresh(Options(), leadership);
  Deliver({Truncate(2, 10)});
  AcceptAll();
  EXPECT_THAT(Take<Checkpoint>().request.superseded, ElementsAre(RowVersion{Row("[]"), 2}));
  Send(CheckpointFinished{{}});
  Deliver({{10, 11, "older"}, {11, 12, "newer"}});
  AcceptAll();
  EXPECT_THAT(Take<Checkpoint>().request.superseded, ElementsAre(RowVersion{Row("newer"), 11}));
}

TEST_F(EngineTruncationsTest, ARowThatFailsAfterItDoesNotGetBackWhatWasAcceptedBefore) {
  Leadership leadership;
  leadership.parked_rows = {{Row("a"), 1}};
  StartFresh(Options(), leadership);
  Deliver({Truncate(2, 10), {3, 11, "a"}});
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  AcceptAll(kRedis);
  AcceptAll(kNeo4j);
  for (int round = 0; round < 2; ++round) {
    AnswerRefusing(kQdrant, {"a"});
    AnswerProbe({});
  }
  const RecordFailure failure = Take<RecordFailure>();
  ASSERT_THAT(failure.record.rows, SizeIs(1));
  EXPECT_TRUE(failure.record.rows[0].carried_forward);
}

}  // namespace
}  // namespace apex::saga
