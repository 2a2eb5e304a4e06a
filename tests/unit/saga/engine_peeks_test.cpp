// What the engine does for the cache while nothing can be read: whose change is committed meanwhile
// loses its entry all the same.
#include <gmock/gmock.h>

#include "fixtures.h"

namespace apex::saga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class EnginePeeksTest : public EngineTest {
 protected:
  static EngineOptions Options() {
    EngineOptions options = EngineTest::Options();
    options.peek_after = EngineOptions().peek_after;
    return options;
  }

  /// Of a table whose rows are written to the cache.
  static std::vector<ChangePtr> Written(std::initializer_list<ChangeSpec> specs) {
    std::vector<ChangePtr> changes;
    for (const ChangeSpec& spec : specs) {
      auto change = std::make_shared<Change>(*Make(spec));
      auto mapping = std::make_shared<TableMapping>(*change->mapping);
      mapping->cache->mode = CacheMode::kWrite;
      change->mapping = std::move(mapping);
      changes.push_back(std::move(change));
    }
    return changes;
  }
  void DeliverWritten(std::initializer_list<ChangeSpec> specs, bool batch_end) {
    Take<Read>();
    const std::vector<ChangePtr> changes = Written(specs);
    Send(PieceArrived{Piece{changes, changes.back()->seq, batch_end, 0}});
  }
  /// Neo4j is away, and the batch of row `a` waits for it.
  void HoldUp(EngineOptions options = Options()) {
    StartFresh(std::move(options));
    DeliverWritten({{1, 10, "a"}}, true);
    AnswerEvictions();
    held_ = TakeWrite(kNeo4j);
    AcceptAll(kQdrant);
  }
  void Find(std::initializer_list<ChangeSpec> specs, bool all = true) {
    Take<Peek>();
    Send(Peeked{Piece{Written(specs), 0, all, 0}});
  }

  Write held_;
};

TEST_F(EnginePeeksTest, EvictsWhatIsCommittedWhileAStoreIsAway) {
  HoldUp();
  Pass(Options().peek_after - Time{1});
  EXPECT_FALSE(Has<Peek>()) << "as a rule it can read on sooner";
  PassToNextTick();
  ASSERT_TRUE(Has<Peek>());
  EXPECT_EQ(All<Peek>()[0].place.read_through_seq, 1);
  EXPECT_TRUE(All<Peek>()[0].place.batch_read);
  Find({{2, 11, "b"}});
  ASSERT_THAT(All<Evict>(), SizeIs(1));
  EXPECT_THAT(KeysOf(All<Evict>()[0].rows), ElementsAre("b"));
  EXPECT_FALSE(HasWrite(kNeo4j)) << "no successor would know of it";
  AnswerEvictions();
  EXPECT_FALSE(Has<Peek>());
  PassToNextTick();
  EXPECT_TRUE(Has<Peek>()) << "again and again";
}

TEST_F(EnginePeeksTest, LooksOnAtOnceWhileThereIsMore) {
  HoldUp();
  Pass(Options().peek_after);
  Find({{2, 11, "b"}}, false);
  EXPECT_FALSE(Has<Peek>()) << "what Redis has not answered is kept in memory";
  AnswerEvictions();
  EXPECT_TRUE(Has<Peek>());
}

TEST_F(EnginePeeksTest, LooksBehindThePiecesThatFillTheMemoryItMayTake) {
  EngineOptions options = Options();
  options.pending_rows_max = 1;
  StartFresh(options);
  DeliverWritten({{1, 10, "a"}}, false);
  AnswerEvictions();
  Pass(Options().peek_after);
  ASSERT_TRUE(Has<Peek>());
  EXPECT_EQ(All<Peek>()[0].place.read_through_seq, 1);
  EXPECT_FALSE(All<Peek>()[0].place.batch_read);
}

TEST_F(EnginePeeksTest, DoesNotLookWhileRowsArriveInTheCache) {
  EngineOptions options = Options();
  options.batch_rows_max = 1;
  StartFresh(options);
  DeliverWritten({{1, 10, "a"}, {2, 11, "b"}, {3, 12, "c"}}, true);
  for (int i = 0; i < 2; ++i) {
    Pass(Options().peek_after - Time{1});
    EXPECT_FALSE(Has<Peek>());
    AnswerEvictions();
    Answer(TakeWrite(kNeo4j));
    Answer(TakeWrite(kQdrant));
    Answer(TakeWrite(kRedis));
    WriteCheckpoint();
  }
  Pass(Options().peek_after);
  EXPECT_TRUE(Has<Peek>()) << "the third one does not";
}

TEST_F(EnginePeeksTest, NeitherReadsNorClosesTheBatchMeanwhile) {
  HoldUp();
  Pass(Options().peek_after);
  Answer(held_);
  AcceptAll(kRedis);
  EXPECT_FALSE(Has<Checkpoint>()) << "what it finds would have been read and written before";
  Find({});
  EXPECT_TRUE(WriteCheckpoint().close);
  EXPECT_TRUE(Has<Read>());
  Pass(Options().peek_after);
  EXPECT_FALSE(Has<Peek>());
}

TEST_F(EnginePeeksTest, EvictsOnceMoreWhatAnOlderChangeHasWritten) {
  HoldUp();
  Pass(Options().peek_after);
  Find({{2, 11, "a"}, {3, 12, "b"}});
  AnswerEvictions();
  Answer(held_);
  Answer(TakeWrite(kRedis));
  ASSERT_THAT(All<Evict>(), SizeIs(1));
  EXPECT_THAT(KeysOf(All<Evict>()[0].rows), ElementsAre("a"));
  EXPECT_EQ(All<Evict>()[0].rows->front().seq, 1) << "the entry is named by what was written";
}

TEST_F(EnginePeeksTest, EvictsOnceMoreWhatWasWrittenWhileANewerChangeWaited) {
  StartFresh();
  DeliverWritten({{1, 10, "a"}}, false);
  AnswerEvictions();
  held_ = TakeWrite(kNeo4j);
  AcceptAll(kQdrant);
  DeliverWritten({{2, 11, "a"}}, true);
  AnswerEvictions();
  Answer(held_);
  Answer(TakeWrite(kRedis));
  ASSERT_THAT(All<Evict>(), SizeIs(1));
  EXPECT_THAT(KeysOf(All<Evict>()[0].rows), ElementsAre("a"));
  AcceptAll(kNeo4j);
  AcceptAll(kQdrant);
  EXPECT_FALSE(HasWrite(kRedis)) << "it could take away what this writes";
  AnswerEvictions();
  Answer(TakeWrite(kRedis));
  EXPECT_THAT(All<Evict>(), IsEmpty());
}

TEST_F(EnginePeeksTest, EvictsOnceMoreWhatWasWrittenOfATableThatIsTruncated) {
  HoldUp();
  Pass(Options().peek_after);
  Find({{.seq = 2, .xid = 11, .key = "[]", .op = Operation::kTruncate}});
  AnswerEvictions();
  Answer(held_);
  Answer(TakeWrite(kRedis));
  ASSERT_THAT(All<Evict>(), SizeIs(1));
  EXPECT_THAT(KeysOf(All<Evict>()[0].rows), ElementsAre("a"));
}

TEST_F(EnginePeeksTest, DoesNotLookWithoutACache) {
  EngineOptions options = Options();
  options.targets.erase(kRedis);
  StartFresh(options);
  Deliver({{1, 10, "a"}});
  Pass(Options().peek_after * 2);
  EXPECT_FALSE(Has<Peek>());
}

TEST_F(EnginePeeksTest, StopsWhenPostgresCannotBeRead) {
  HoldUp();
  Pass(Options().peek_after);
  Take<Peek>();
  Send(Peeked{Transient(Store::kPostgres)});
  EXPECT_TRUE(Has<Stop>());
}

TEST_F(EnginePeeksTest, LeavesWhatItFindsToItsSuccessorWhenItIsToStop) {
  HoldUp();
  Pass(Options().peek_after);
  Send(Drain{});
  EXPECT_FALSE(engine_->drained());
  Find({{2, 11, "b"}});
  EXPECT_FALSE(Has<Evict>());
}

}  // namespace
}  // namespace apex::saga
