// Compensation (rules E5 and E6): the intent, the undoing, parking, superseding, and resuming after
// a crash.
#include <gmock/gmock.h>

#include "fixtures.h"

namespace apex::saga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class EngineFailuresTest : public EngineTest {
 protected:
  /// Has the outstanding write of `key` blamed on it by `store`; what comes before that store is
  /// accepted.
  void Refuse(Store store, const std::string& key) {
    for (Store other : {kNeo4j, kQdrant, kRedis}) {
      if (other != store) AcceptAll(other);
    }
    AnswerRefusing(store, {key});
    AnswerProbe({});
    AnswerRefusing(store, {key});
    AnswerProbe({});
  }

  static Leadership WithParked(const std::string& key) {
    Leadership leadership;
    leadership.parked_rows = {{Row(key), 1}};
    return leadership;
  }

  static Leadership WithCompensating(const std::string& key, std::vector<Store> steps) {
    Leadership leadership;
    RowUndo undo;
    undo.row = Row(key);
    undo.failed_seq = 5;
    leadership.compensating.push_back(
        {"saga", std::move(steps), "write_qdrant", "refused", {undo}});
    return leadership;
  }
};

TEST_F(EngineFailuresTest, CommitsTheIntentBeforeItUndoesInReverseAndThenParks) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Refuse(kRedis, "a");
  const RecordFailure failure = Take<RecordFailure>();
  EXPECT_THAT(failure.record.steps, ElementsAre(kNeo4j, kQdrant, kRedis));
  EXPECT_FALSE(Has<Undo>());
  Send(FailureRecorded{failure.failure, UndosOf(failure.record)});
  for (Store store : {kRedis, kQdrant, kNeo4j}) {
    ASSERT_THAT(All<Undo>(), SizeIs(1)) << "one store at a time";
    const Undo undo = Take<Undo>();
    EXPECT_EQ(undo.store, store);
    EXPECT_EQ(undo.rows->front().failed_seq, 1);
    EXPECT_FALSE(Has<SettleFailure>());
    Send(UndoFinished{undo.failure, undo.store, {}});
    EXPECT_TRUE(Take<StepCompensated>().compensated);
  }
  const SettleFailure settle = Take<SettleFailure>();
  EXPECT_EQ(settle.state, FailureState::kParked);
  EXPECT_FALSE(Has<Checkpoint>());
  Send(FailureSettled{settle.failure, {}});
  EXPECT_EQ(Take<SagasFailed>().sagas, 1);
  EXPECT_TRUE(WriteCheckpoint().close);
  EXPECT_EQ(engine_->active_sagas(), 0);
}

TEST_F(EngineFailuresTest, UndoesOnlyTheStoresThatWereSentTheGroup) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Refuse(kQdrant, "a");
  EXPECT_THAT(Compensate(), ElementsAre(kQdrant, kNeo4j));
}

TEST_F(EngineFailuresTest, DoesNotUndoAStoreThatTheGroupDoesNotNeed) {
  StartFresh();
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, {kQdrant}}, {2, 11, "b"}});
  Refuse(kQdrant, "a");
  EXPECT_THAT(Compensate(), ElementsAre(kQdrant));
}

TEST_F(EngineFailuresTest, UndoesWhatAnEarlierLeaderMayHaveWrittenInEveryStore) {
  Start();
  Deliver({{1, 10, "a"}, {2, 11, "a"}});
  Refuse(kQdrant, "a");
  const FailureRecord record = All<RecordFailure>().front().record;
  EXPECT_THAT(record.steps, ElementsAre(kNeo4j, kQdrant, kRedis))
      << "the earlier leader may have reached the cache";
  EXPECT_EQ(record.rows.front().first_seq, 1) << "any version from here on is undone";
}

TEST_F(EngineFailuresTest, TakesWhatWasAcceptedFromTheFirstChangeThatIsNoRefresh) {
  StartFresh();
  Deliver({{.seq = 1, .xid = 10, .key = "a", .op = Operation::kRefresh},
           {.seq = 2, .xid = 11, .key = "a"},
           {.seq = 3, .xid = 12, .key = "a"}});
  Refuse(kQdrant, "a");
  const FailureRecord::Row row = All<RecordFailure>().front().record.rows.front();
  EXPECT_EQ(row.oldest_seq, 2);
  EXPECT_EQ(row.first_seq, 1);
}

TEST_F(EngineFailuresTest, NamesTheRefreshOfARowThatWasOnlyRefreshed) {
  StartFresh();
  Deliver({{.seq = 1, .xid = 10, .key = "a", .op = Operation::kRefresh}});
  Refuse(kQdrant, "a");
  EXPECT_EQ(All<RecordFailure>().front().record.rows.front().oldest_seq, 1);
}

TEST_F(EngineFailuresTest, KeepsARowBusyUntilItsFailureIsSettled) {
  StartFresh();
  Deliver({{1, 10, "a"}}, false);
  Refuse(kQdrant, "a");
  Deliver({{2, 11, "a"}}, false);
  EXPECT_FALSE(HasWrite(kNeo4j));
  Compensate();
  EXPECT_EQ(TakeWrite(kNeo4j).rows->front().seq, 2);
}

TEST_F(EngineFailuresTest, RepeatsAnUndoUntilTheStoreIsBack) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Refuse(kQdrant, "a");
  const RecordFailure failure = Take<RecordFailure>();
  Send(FailureRecorded{failure.failure, UndosOf(failure.record)});
  for (const StoreError& error : {Transient(kQdrant), Unknown(kQdrant)}) {
    const Undo undo = Take<Undo>();
    Send(UndoFinished{undo.failure, undo.store, error});
    EXPECT_FALSE(Has<Undo>());
    PassToNextTick();
    EXPECT_EQ(All<Undo>().front().store, kQdrant);
  }
}

TEST_F(EngineFailuresTest, ReportsACompensationThatAStoreRefusesAndUndoesTheRest) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Refuse(kQdrant, "a");
  const RecordFailure failure = Take<RecordFailure>();
  Send(FailureRecorded{failure.failure, UndosOf(failure.record)});
  Send(UndoFinished{Take<Undo>().failure, kQdrant, Refused(kQdrant)});
  EXPECT_FALSE(Take<StepCompensated>().compensated);
  const Undo next = Take<Undo>();
  EXPECT_EQ(next.store, kNeo4j);
  Send(UndoFinished{next.failure, next.store, {}});
  EXPECT_TRUE(Take<StepCompensated>().compensated);
  EXPECT_EQ(Take<SettleFailure>().state, FailureState::kCompensationFailed);
}

TEST_F(EngineFailuresTest, StopsWhenTheIntentCannotBeWrittenDown) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Refuse(kQdrant, "a");
  Send(FailureRecorded{Take<RecordFailure>().failure, Unknown(Store::kPostgres)});
  EXPECT_TRUE(Has<Stop>());
  EXPECT_FALSE(Has<Undo>());
}

TEST_F(EngineFailuresTest, StopsWhenAnUndoIsFencedOrTheSettlementFails) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Refuse(kQdrant, "a");
  const RecordFailure failure = Take<RecordFailure>();
  Send(FailureRecorded{failure.failure, UndosOf(failure.record)});
  Send(UndoFinished{Take<Undo>().failure, kQdrant, Fenced(kQdrant)});
  EXPECT_TRUE(Has<Stop>());

  pending_.clear();
  StartFresh();
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, {kQdrant}, "a value that cannot be encoded"}});
  const RecordFailure capture = Take<RecordFailure>();
  Send(FailureRecorded{capture.failure, UndosOf(capture.record)});
  Send(FailureSettled{Take<SettleFailure>().failure, Transient(Store::kPostgres)});
  EXPECT_TRUE(Has<Stop>());
}

TEST_F(EngineFailuresTest, ParksAChangeThatCouldNotBeCapturedWithoutWritingIt) {
  StartFresh();
  Deliver(
      {{1, 10, "bad", "", 0, Operation::kUpdate, {kNeo4j}, "column born of row bad: infinite date"},
       {2, 11, "good"}});
  const FailureRecord record = All<RecordFailure>().front().record;
  EXPECT_EQ(record.failed_step, "capture");
  EXPECT_EQ(record.error_type, "unencodable");
  EXPECT_EQ(record.error, "column born of row bad: infinite date");
  EXPECT_THAT(KeysOf(TakeWrite(kNeo4j).rows), ElementsAre("good"));
  EXPECT_THAT(Compensate(), IsEmpty());
  EXPECT_FALSE(HasWrite(kNeo4j));
}

TEST_F(EngineFailuresTest, WritesTheNewerGoodImageOfARowThatCouldNotBeCapturedBefore) {
  StartFresh();
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, {kNeo4j}, "infinite date"},
           {2, 11, "a", "", 0, Operation::kUpdate, {kNeo4j}}});
  EXPECT_FALSE(Has<RecordFailure>());
  EXPECT_EQ(TakeWrite(kNeo4j).rows->front().seq, 2);
}

TEST_F(EngineFailuresTest, UndoesWhatAnEarlierLeaderWroteBeforeAChangeThatCouldNotBeCaptured) {
  Start();
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, {kNeo4j}},
           {2, 11, "a", "", 0, Operation::kUpdate, {kNeo4j}, "infinite date"}});
  EXPECT_FALSE(Has<Write>());
  EXPECT_THAT(Compensate(), ElementsAre(kNeo4j));
}

TEST_F(EngineFailuresTest, SupersedesAParkedRowInTheCheckpointThatCoversTheChange) {
  StartFresh(Options(), WithParked("a"));
  Deliver({{1, 10, "a"}});
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{1, true, {{Row("a"), 1}}}));
}

TEST_F(EngineFailuresTest, SupersedesARowOnlyWhenNoSuccessorCanReadTheChangeAgain) {
  StartFresh(Options(), WithParked("a"));
  Deliver({{1, 10, "first"}}, false);
  Deliver({{2, 11, "second"}}, false);
  const Write stuck = TakeIf<Write>([](const Write& write) {
    return write.store == kNeo4j && KeysOf(write.rows)[0] == "second";
  });
  Deliver({{3, 12, "a"}}, false);
  AcceptAll();  // All but `second`, whose graph write is still under way.
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{1, false, {}}));
  Answer(stuck);
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{3, false, {{Row("a"), 3}}}));
}

TEST_F(EngineFailuresTest, SaysThatTheParkedImageNoLongerCountsWhenALaterOneWasAccepted) {
  StartFresh(Options(), WithParked("a"));
  Deliver({{1, 10, "stuck"}}, false);
  const Write stuck = TakeWrite(kNeo4j);
  Deliver({{2, 11, "a"}}, false);
  AcceptAll();
  Deliver({{3, 12, "a"}}, false);
  Refuse(kQdrant, "a");
  EXPECT_TRUE(All<RecordFailure>().front().record.rows.front().carried_forward);
  Compensate();
  Answer(stuck);
  AcceptAll();
  EXPECT_THAT(WriteCheckpoint().superseded, IsEmpty()) << "the row is parked anew, at 3";
}

TEST_F(EngineFailuresTest, DoesNotTakeARowForCarriedForwardThatHasFailedSince) {
  StartFresh(Options(), WithParked("a"));
  Deliver({{1, 10, "stuck"}}, false);
  TakeWrite(kNeo4j);
  Deliver({{2, 11, "a"}}, false);
  AcceptAll();
  Deliver({{3, 12, "a"}}, false);
  Refuse(kQdrant, "a");
  Compensate();
  Deliver({{4, 13, "a"}}, false);
  Refuse(kQdrant, "a");
  EXPECT_FALSE(All<RecordFailure>().back().record.rows.front().carried_forward)
      << "what stood before 4 was never accepted";
}

TEST_F(EngineFailuresTest, HandsTheParkedImageOnWhenARowFailsAgainAndUndoesEveryStore) {
  StartFresh(Options(), WithParked("a"));
  Deliver({{1, 10, "a"}});
  Refuse(kQdrant, "a");
  const FailureRecord record = All<RecordFailure>().front().record;
  EXPECT_FALSE(record.rows.front().carried_forward);
  EXPECT_THAT(record.steps, ElementsAre(kNeo4j, kQdrant, kRedis))
      << "an earlier undo may have failed anywhere";
}

TEST_F(EngineFailuresTest, SupersedesARowItHasParkedItself) {
  StartFresh();
  Deliver({{1, 10, "a"}}, false);
  Refuse(kQdrant, "a");
  Compensate();
  EXPECT_THAT(WriteCheckpoint().superseded, IsEmpty());
  Deliver({{2, 11, "a"}});
  AcceptAll();
  EXPECT_THAT(WriteCheckpoint().superseded, ElementsAre(RowVersion{Row("a"), 2}));
}

TEST_F(EngineFailuresTest, ResumesTheCompensationThatItFindsAndHoldsItsRows) {
  Start(Options(), WithCompensating("a", {kNeo4j, kQdrant}));
  EXPECT_FALSE(Has<RecordFailure>()) << "it is recorded already";
  const Undo first = Take<Undo>();
  EXPECT_EQ(first.store, kQdrant);
  Deliver({{7, 11, "a"}}, false);
  EXPECT_FALSE(Has<Write>());
  Send(UndoFinished{first.failure, first.store, {}});
  const Undo second = Take<Undo>();
  EXPECT_EQ(second.store, kNeo4j);
  Send(UndoFinished{second.failure, second.store, {}});
  const SettleFailure settle = Take<SettleFailure>();
  EXPECT_EQ(settle.id, "saga");
  Send(FailureSettled{settle.failure, {}});
  AcceptAll();
  EXPECT_THAT(WriteCheckpoint().superseded, ElementsAre(RowVersion{Row("a"), 7}));
}

TEST_F(EngineFailuresTest, ReportsAStoreThatIsNoLongerConfiguredAsNotPutBack) {
  EngineOptions options = Options();
  options.targets = {kNeo4j};
  Start(options, WithCompensating("a", {kNeo4j, kQdrant}));
  EXPECT_EQ(Take<StepCompensated>().store, kQdrant);
  const Undo undo = Take<Undo>();
  EXPECT_EQ(undo.store, kNeo4j);
  Send(UndoFinished{undo.failure, undo.store, {}});
  EXPECT_EQ(Take<SettleFailure>().state, FailureState::kCompensationFailed);
}

TEST_F(EngineFailuresTest, FinishesCompensationsWhenDrained) {
  Start(Options(), WithCompensating("a", {kNeo4j}));
  Take<Read>();
  Send(PieceArrived{Piece{{}, 0, true, 0}});
  Send(Drain{});
  EXPECT_FALSE(engine_->drained());
  Send(UndoFinished{Take<Undo>().failure, kNeo4j, {}});
  Send(FailureSettled{Take<SettleFailure>().failure, {}});
  EXPECT_TRUE(engine_->drained());
}

}  // namespace
}  // namespace apex::saga
