// The way of a batch that nothing refuses: reading, the order of its steps, waiting for a store,
// checkpoints, the end.
#include <gmock/gmock.h>

#include "fixtures.h"

namespace apex::saga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

const std::set<Store> kGraphOnly = {kNeo4j};

class EngineStepsTest : public EngineTest {
 protected:
  /// A piece of one row with an image of this size.
  void DeliverLarge(int64_t seq, size_t bytes) {
    auto change = std::make_shared<Change>(
        *Make({.seq = seq, .xid = static_cast<uint64_t>(seq), .key = std::to_string(seq)}));
    change->after = std::string(bytes, 'x');
    Take<Read>();
    Send(PieceArrived{Piece{{change}, seq, false, 0}});
  }
};

TEST_F(EngineStepsTest, DoesNothingBeforeItLeads) {
  engine_.emplace(Options());
  Send(Tick{});
  EXPECT_THAT(pending_, IsEmpty());
}

TEST_F(EngineStepsTest, EvictsAtOnceThenWritesGraphAndVectorsThenTheCacheThenTheCheckpoint) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  EXPECT_TRUE(Has<Evict>());
  EXPECT_TRUE(std::holds_alternative<Evict>(pending_.front()))
      << "the eviction does not wait for anything";
  const Write graph = TakeWrite(kNeo4j);
  const Write vectors = TakeWrite(kQdrant);
  EXPECT_FALSE(HasWrite(kRedis));
  AnswerEvictions();
  Answer(graph);
  EXPECT_FALSE(HasWrite(kRedis)) << "queries may hold vector results";
  Answer(vectors);
  const Write cache = TakeWrite(kRedis);
  EXPECT_FALSE(Has<Checkpoint>());
  Answer(cache);
  const CheckpointRequest request = WriteCheckpoint();
  EXPECT_EQ(request, (CheckpointRequest{1, true, {}}));
  EXPECT_EQ(Take<SagasSucceeded>().sagas, 1);
  EXPECT_EQ(engine_->active_sagas(), 0);
}

TEST_F(EngineStepsTest, WritesVectorsThoughTheGraphHasAlreadyAnswered) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  AnswerEvictions();
  Answer(TakeWrite(kQdrant));
  Answer(TakeWrite(kNeo4j));
  EXPECT_TRUE(HasWrite(kRedis));
}

TEST_F(EngineStepsTest, SkipsStoresThatNoMappingNames) {
  StartFresh();
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, kGraphOnly}});
  EXPECT_FALSE(Has<Evict>());
  EXPECT_THAT(All<Write>(), SizeIs(1));
  Answer(TakeWrite(kNeo4j));
  EXPECT_TRUE(WriteCheckpoint().close);
}

TEST_F(EngineStepsTest, SkipsStoresThatAreNotConfigured) {
  EngineOptions options = Options();
  options.targets = {kQdrant};
  StartFresh(options);
  Deliver({{1, 10, "a"}});
  EXPECT_FALSE(Has<Evict>());
  Answer(TakeWrite(kQdrant));
  EXPECT_FALSE(Has<Write>());
  EXPECT_TRUE(WriteCheckpoint().close);
}

TEST_F(EngineStepsTest, SendsOneWriteWithEveryRowOfASaga) {
  StartFresh();
  Deliver({{1, 10, "doc"}, {2, 10, "chunk 1", "doc"}, {3, 10, "chunk 2", "doc"}});
  EXPECT_THAT(KeysOf(TakeWrite(kNeo4j).rows), ElementsAre("doc", "chunk 1", "chunk 2"));
}

TEST_F(EngineStepsTest, CoalescesTheRecoveryWindowBeforeItWritesAnything) {
  Start();
  Deliver({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "a"}, {4, 13, "a"}});
  const Write write = TakeWrite(kNeo4j);
  EXPECT_THAT(KeysOf(write.rows), ElementsAre("a", "b"));
  EXPECT_EQ(write.rows->front().seq, 4);
  EXPECT_FALSE(HasWrite(kNeo4j));
}

TEST_F(EngineStepsTest, RetriesATransientFailureAfterABackoffThatGrows) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Time last{0};
  for (int attempt = 0; attempt < 3; ++attempt) {
    Answer(TakeWrite(kNeo4j), Transient(kNeo4j));
    EXPECT_EQ(Take<StoreFailing>().error.message, "the store's own words");
    EXPECT_FALSE(HasWrite(kNeo4j));
    ASSERT_TRUE(engine_->next_tick().has_value());
    const Time delay = *engine_->next_tick() - now_;
    EXPECT_GT(delay, last);
    last = delay;
    Pass(delay - Time{1});
    EXPECT_FALSE(HasWrite(kNeo4j)) << "too early";
    Pass(Time{1});
  }
  Answer(TakeWrite(kNeo4j));
  EXPECT_TRUE(Has<StoreRecovered>());
  AcceptAll();
  WriteCheckpoint();
  EXPECT_EQ(engine_->next_tick(), std::nullopt);
}

TEST_F(EngineStepsTest, WaitsAsLongAsTheStoreAsks) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  StoreError error = Transient(kQdrant);
  error.retry_after = Time{30000};
  Answer(TakeWrite(kQdrant), error);
  EXPECT_EQ(engine_->next_tick(), now_ + Time{30000});
}

TEST_F(EngineStepsTest, BacksOffTheStoreThatWasAskedWhateverTheErrorNames) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Answer(TakeWrite(kNeo4j), Transient(Store::kPostgres));
  EXPECT_FALSE(HasWrite(kNeo4j)) << "sent again without any wait";
}

TEST_F(EngineStepsTest, ReplaysTheSameRowsAfterAnUnknownOutcome) {
  StartFresh();
  Deliver({{1, 10, "a", "doc"}, {2, 10, "b", "doc"}});
  const Write first = TakeWrite(kQdrant);
  Answer(first, Unknown(kQdrant));
  Answer(TakeWrite(kNeo4j));
  PassToNextTick();
  const Write again = TakeWrite(kQdrant);
  EXPECT_EQ(KeysOf(again.rows), KeysOf(first.rows));
  EXPECT_FALSE(Has<RecordFailure>());
}

TEST_F(EngineStepsTest, AsksForHalfAfterAnUnknownOutcomeOnceTheOtherStoreHasAnswered) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "c"}, {4, 13, "d"}});
  Answer(TakeWrite(kQdrant), Unknown(kQdrant));
  PassToNextTick();
  EXPECT_FALSE(HasWrite(kQdrant)) << "Neo4j still writes the whole batch";
  Answer(TakeWrite(kNeo4j));
  const Write half = TakeWrite(kQdrant);
  EXPECT_THAT(KeysOf(half.rows), ElementsAre("a", "b"));
  EXPECT_FALSE(HasWrite(kQdrant)) << "alone, until the store answers";
  Answer(half, Unknown(kQdrant));
  PassToNextTick();
  EXPECT_THAT(KeysOf(TakeWrite(kQdrant).rows), SizeIs(2)) << "the other half";
  EXPECT_FALSE(HasWrite(kNeo4j)) << "it has them all";
}

TEST_F(EngineStepsTest, WritesEveryRowThoughItsBatchWasCutAgainAndAgain) {
  StartFresh();
  Deliver({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "c"}, {4, 13, "d"}, {5, 14, "e"}});
  for (int i = 0; i < 6; ++i) {
    AcceptAll(kNeo4j);
    Answer(TakeWrite(kQdrant), Unknown(kQdrant));
    PassToNextTick();
  }
  AcceptAll(kQdrant);
  AcceptAll(kRedis);
  EXPECT_EQ(WriteCheckpoint().settled_seq, 5);
  EXPECT_FALSE(Has<RecordFailure>());
}

TEST_F(EngineStepsTest, SendsFewerRowsAtOnceToAStoreThatTakesLong) {
  EngineOptions options = Options();
  options.batch_rows_max = 8;
  options.batches_in_flight_max = 1;
  options.write_target = Time{100};
  StartFresh(options);
  Deliver({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "c"}, {4, 13, "d"}});
  const Write first = TakeWrite(kQdrant);
  EXPECT_THAT(*first.rows, SizeIs(2));
  Send(WriteFinished{first.batch, kQdrant, {}, std::chrono::milliseconds{300}});
  AcceptAll(kNeo4j);
  AcceptAll(kRedis);
  EXPECT_THAT(*TakeWrite(kQdrant).rows, SizeIs(1));
}

TEST_F(EngineStepsTest, SendsOneRequestAloneToAFailingStoreAndTheRestOnceItAnswers) {
  EngineOptions options = Options();
  options.batch_rows_max = 1;
  StartFresh(options);
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, kGraphOnly},
           {2, 11, "b", "", 0, Operation::kUpdate, kGraphOnly}});
  for (const Write& write : All<Write>()) Answer(write, Transient(kNeo4j));
  pending_.clear();
  PassToNextTick();
  EXPECT_THAT(All<Write>(), SizeIs(1));
  Answer(TakeWrite(kNeo4j));
  EXPECT_THAT(All<Write>(), SizeIs(1));
}

TEST_F(EngineStepsTest, RepeatsAnEvictionUntilTheCacheAnswersAndBeforeTheRowIsWrittenThere) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Send(EvictFinished{Take<Evict>().eviction, Transient(kRedis)});
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  EXPECT_FALSE(HasWrite(kRedis));
  PassToNextTick();
  ASSERT_TRUE(Has<Evict>());
  EXPECT_FALSE(HasWrite(kRedis));
  Send(EvictFinished{Take<Evict>().eviction, {}});
  EXPECT_TRUE(HasWrite(kRedis));
}

TEST_F(EngineStepsTest, DoesNotWriteTheCacheBeforeItsOwnEvictionIsAnswered) {
  StartFresh();
  Deliver({{1, 10, "a"}}, false);
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  EXPECT_FALSE(HasWrite(kRedis)) << "a repeated eviction would take the new entry away";
  const uint64_t own = Take<Evict>().eviction;
  Deliver({{2, 11, "b"}}, false);
  Send(EvictFinished{own, {}});
  EXPECT_TRUE(HasWrite(kRedis)) << "the eviction of a later piece is none of its business";
}

TEST_F(EngineStepsTest, KeepsARowOutOfASecondBatchAndCoalescesWhatWaits) {
  StartFresh();
  Deliver({{1, 10, "a"}}, false);
  const Write first = TakeWrite(kNeo4j);
  Deliver({{2, 11, "a"}}, false);
  Deliver({{3, 12, "a"}}, false);
  EXPECT_FALSE(HasWrite(kNeo4j));
  Answer(first);
  Answer(TakeWrite(kQdrant));
  AcceptAll(kRedis);
  const Write second = TakeWrite(kNeo4j);
  ASSERT_THAT(*second.rows, SizeIs(1));
  EXPECT_EQ(second.rows->front().seq, 3);
  EXPECT_THAT(second.rows->front().changes, SizeIs(2));
}

TEST_F(EngineStepsTest, KeepsAnAggregateOutOfASecondBatch) {
  StartFresh();
  Deliver({{1, 10, "chunk 1", "doc"}}, false);
  TakeWrite(kNeo4j);
  Deliver({{2, 11, "chunk 2", "doc"}, {3, 12, "free"}}, false);
  EXPECT_THAT(KeysOf(TakeWrite(kNeo4j).rows), ElementsAre("free"));
  EXPECT_FALSE(HasWrite(kNeo4j));
}

TEST_F(EngineStepsTest, LetsTwoBatchesOnDisjointRowsOverlap) {
  StartFresh();
  Deliver({{1, 10, "a"}}, false);
  Deliver({{2, 11, "b"}}, false);
  Deliver({{3, 12, "c"}}, false);
  std::vector<std::string> first_keys;
  for (const Write& write : All<Write>()) {
    if (write.store == kNeo4j) first_keys.push_back(KeysOf(write.rows).front());
  }
  EXPECT_THAT(first_keys, UnorderedElementsAre("a", "b")) << "two at most";
  // The later one may finish first; the settled position waits for the earlier.
  AnswerEvictions();
  for (int round = 0; round < 3; ++round) {
    for (const Write& write : All<Write>()) {
      if (KeysOf(write.rows).front() != "b") continue;
      Answer(TakeIf<Write>([&](const Write& each) {
        return each.batch == write.batch && each.store == write.store;
      }));
    }
  }
  EXPECT_FALSE(Has<Checkpoint>());
  AcceptAll();
  EXPECT_EQ(WriteCheckpoint().settled_seq, 3);
}

TEST_F(EngineStepsTest, ReadsOnWhileBatchesAreInFlightUntilASuccessorWouldHaveTooMuchToReadAgain) {
  EngineOptions options = Options();
  options.pending_rows_max = 3;
  StartFresh(options);
  Deliver({{1, 10, "a"}, {2, 11, "b"}}, false);
  ASSERT_TRUE(Has<Read>());
  Deliver({{3, 12, "c"}}, false);
  EXPECT_FALSE(Has<Read>());
  AcceptAll();
  WriteCheckpoint();
  EXPECT_TRUE(Has<Read>());
}

TEST_F(EngineStepsTest, ReadsNoFurtherWhileWhatIsInFlightFillsTheMemoryItMayTake) {
  EngineOptions options = Options();
  options.pending_bytes_max = 2000;
  StartFresh(options);
  DeliverLarge(1, 3000);
  EXPECT_FALSE(Has<Read>());
  AcceptAll();
  WriteCheckpoint();
  EXPECT_TRUE(Has<Read>());
}

TEST_F(EngineStepsTest, AsksForFewerRowsAfterLargeOnesAndForMoreAfterSmallOnes) {
  EngineOptions options = Options();
  options.piece_rows_max = 100;
  options.piece_bytes_max = 100000;
  StartFresh(options);
  EXPECT_EQ(All<Read>().front().size.rows_max, 100);
  DeliverLarge(1, 25000);
  EXPECT_EQ(All<Read>().front().size.rows_max, 3);
  DeliverLarge(2, 1000000);
  EXPECT_EQ(All<Read>().front().size.rows_max, 1) << "a row is never too large to be read";
  DeliverLarge(3, 1);
  EXPECT_EQ(All<Read>().front().size.rows_max, 100);
}

TEST_F(EngineStepsTest, StopsReadingBehindOneStuckChangeThoughTheOthersSettle) {
  EngineOptions options = Options();
  options.pending_rows_max = 3;
  StartFresh(options);
  Deliver({{1, 10, "stuck", "", 0, Operation::kUpdate, {kQdrant}}}, false);
  Answer(TakeWrite(kQdrant), Transient(kQdrant));
  for (int64_t seq = 2; seq <= 3; ++seq) {
    Deliver({{seq, 20, "row", "", 0, Operation::kUpdate, kGraphOnly}}, false);
    AcceptAll(kNeo4j);
  }
  EXPECT_EQ(engine_->unsettled_changes(), 1);
  EXPECT_FALSE(Has<Read>()) << "the recovery window would grow without bound";
}

TEST_F(EngineStepsTest, ReadsNoFurtherPieceUntilTheBatchThatWasReadIsClosed) {
  StartFresh();
  Deliver({{1, 10, "a"}}, true);
  EXPECT_FALSE(Has<Read>());
  AcceptAll();
  EXPECT_FALSE(Has<Read>()) << "the checkpoint that closes the batch is not written yet";
  WriteCheckpoint();
  EXPECT_TRUE(Has<Read>());
}

TEST_F(EngineStepsTest, ReadsTheNextBatchAheadWhileTheLastRowsOfTheOpenOneAreWritten) {
  nothing_ahead_ = false;
  StartFresh();
  Deliver({{1, 10, "a"}}, true);
  Take<ReadAhead>();
  Send(AheadArrived{Piece{Make({{2, 11, "b"}}), 2, true, 0}});
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  EXPECT_FALSE(HasWrite(kNeo4j)) << "no successor would know of it";
  AcceptAll(kRedis);
  const Checkpoint closing = Take<Checkpoint>();
  EXPECT_TRUE(closing.request.close);
  EXPECT_TRUE(closing.request.open_next);
  EXPECT_FALSE(HasWrite(kNeo4j));
  Send(CheckpointFinished{{}});
  EXPECT_THAT(KeysOf(TakeWrite(kNeo4j).rows), ElementsAre("b"));
  EXPECT_FALSE(Has<Read>());
}

TEST_F(EngineStepsTest, ClosesABatchOnlyWhenWhatIsReadAheadHasCome) {
  nothing_ahead_ = false;
  StartFresh();
  Deliver({{1, 10, "a"}}, true);
  AcceptAll();
  EXPECT_FALSE(Has<Checkpoint>());
  Take<ReadAhead>();
  Send(AheadArrived{Piece{}});
  const Checkpoint closing = Take<Checkpoint>();
  EXPECT_FALSE(closing.request.open_next);
  Send(CheckpointFinished{{}});
  EXPECT_TRUE(Has<Read>());
}

TEST_F(EngineStepsTest, LooksAheadAgainAfterMoreOfTheOpenBatchIsSettled) {
  nothing_ahead_ = false;
  EngineOptions options = Options();
  options.batch_rows_max = 1;
  StartFresh(options);
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, kGraphOnly},
           {2, 11, "b", "", 0, Operation::kUpdate, kGraphOnly}},
          true);
  Take<ReadAhead>();
  Send(AheadArrived{Piece{}});
  EXPECT_FALSE(Has<ReadAhead>());
  Answer(TakeWrite(kNeo4j));
  EXPECT_TRUE(Has<Checkpoint>());
  Send(CheckpointFinished{{}});
  EXPECT_TRUE(Has<ReadAhead>());
}

TEST_F(EngineStepsTest, LeavesWhatWasReadAheadToItsSuccessorWhenItIsToStop) {
  nothing_ahead_ = false;
  StartFresh();
  Deliver({{1, 10, "a"}}, true);
  Take<ReadAhead>();
  Send(AheadArrived{Piece{Make({{2, 11, "b"}}), 2, true, 0}});
  Send(Drain{});
  AcceptAll();
  EXPECT_FALSE(Take<Checkpoint>().request.open_next);
  Send(CheckpointFinished{{}});
  EXPECT_TRUE(engine_->drained());
}

TEST_F(EngineStepsTest, WritesNoRowAheadOfAnOlderChangeThatIsYetToBeRead) {
  EngineOptions options = Options();
  options.pending_rows_max = 1;
  StartFresh(options);
  DeliverThrough(1, {{1, 10, "doc"}, {3, 10, "chunk", "doc"}}, false);
  EXPECT_FALSE(HasWrite(kNeo4j));
  ASSERT_TRUE(Has<Read>()) << "nothing is in flight: what waits needs the pieces up to it";
  DeliverThrough(3, {{2, 11, "chunk"}}, true);
  ASSERT_TRUE(HasWrite(kNeo4j));
  const Write write = TakeWrite(kNeo4j);
  EXPECT_THAT(KeysOf(write.rows), testing::UnorderedElementsAre("doc", "chunk"));
  for (const RowWrite& row : *write.rows) EXPECT_NE(row.seq, 2);
}

TEST_F(EngineStepsTest, ArmsThenReadsAgainThenSleeps) {
  Start();
  Take<Read>();
  Send(PieceArrived{Piece{{}, 0, true, 0}});
  Take<Arm>();
  EXPECT_THAT(pending_, IsEmpty());
  Send(Woken{true});
  Take<Read>();
  Send(PieceArrived{Piece{{}, 0, true, 0}});
  Take<AwaitChange>();
  EXPECT_THAT(pending_, IsEmpty());
  Send(Woken{false});
  EXPECT_TRUE(Has<Read>());
}

TEST_F(EngineStepsTest, ClosesABatchWithoutEventsAndReadsOn) {
  StartFresh();
  Take<Read>();
  Send(PieceArrived{Piece{{}, 40, true, 0}});
  EXPECT_TRUE(WriteCheckpoint().close);
  EXPECT_TRUE(Has<Read>());
}

TEST_F(EngineStepsTest, FinishesWhatIsInFlightAndStartsNothingWhenDrained) {
  EngineOptions options = Options();
  options.batches_in_flight_max = 1;
  options.batch_rows_max = 1;
  StartFresh(options);
  Deliver({{1, 10, "a"}, {2, 11, "b"}});
  Send(Drain{});
  EXPECT_FALSE(engine_->drained());
  AcceptAll();
  EXPECT_FALSE(engine_->drained()) << "not written down yet";
  EXPECT_EQ(WriteCheckpoint(), (CheckpointRequest{1, false, {}}));
  EXPECT_TRUE(engine_->drained());
  EXPECT_FALSE(Has<Write>());
  EXPECT_FALSE(Has<Read>());
}

TEST_F(EngineStepsTest, IsNotDrainedWhileAStoreIsAskedWhoIsAtFault) {
  StartFresh();
  Deliver({{1, 10, "a", "", 0, Operation::kUpdate, kGraphOnly}});
  Send(Drain{});
  Answer(TakeWrite(kNeo4j), Refused(kNeo4j));
  EXPECT_TRUE(Has<Probe>());
  EXPECT_FALSE(engine_->drained());
}

TEST_F(EngineStepsTest, StopsForGoodWhenAStoreSaysThatItNoLongerLeads) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  Answer(TakeWrite(kNeo4j), Fenced(kNeo4j));
  EXPECT_EQ(Take<Stop>().reason.native_code, kFenced);
  pending_.clear();
  Answer(Write{1, kQdrant, nullptr}, {});
  Pass(Time{100000});
  EXPECT_THAT(pending_, IsEmpty());
}

TEST_F(EngineStepsTest, StopsWhenPostgresCannotBeRead) {
  Start();
  Take<Read>();
  Send(PieceArrived{Transient(Store::kPostgres)});
  EXPECT_TRUE(Has<Stop>());
}

TEST_F(EngineStepsTest, StopsWhenTheCheckpointFails) {
  StartFresh();
  Deliver({{1, 10, "a"}});
  AcceptAll();
  Take<Checkpoint>();
  Send(CheckpointFinished{Unknown(Store::kPostgres)});
  EXPECT_TRUE(Has<Stop>());
  EXPECT_FALSE(Has<SagasSucceeded>());
}

TEST_F(EngineStepsTest, RepeatsItselfUnderTheSameSeed) {
  std::vector<Time> ticks[2];
  for (auto& each : ticks) {
    pending_.clear();
    now_ = Time{0};
    EngineOptions options = Options();
    options.seed = 42;
    StartFresh(options);
    Deliver({{1, 10, "a"}});
    for (int i = 0; i < 10; ++i) {
      Answer(TakeWrite(kNeo4j), Transient(kNeo4j));
      each.push_back(engine_->next_tick().value());
      PassToNextTick();
    }
  }
  EXPECT_EQ(ticks[0], ticks[1]);
}

}  // namespace
}  // namespace apex::saga
