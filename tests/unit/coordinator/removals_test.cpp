#include "coordinator/removals.h"

#include <gmock/gmock.h>

#include <span>
#include <string>
#include <vector>

namespace apex::coordinator {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

/// Says what it was asked for.
class ToldStore : public TargetStore {
 public:
  Store store() const override { return Store::kQdrant; }
  Status Prepare(const Fence&, std::span<const MappingPtr>, Deadline) override { return {}; }
  Status Write(const Fence&, std::span<const RowWrite> rows, Deadline) override {
    return Say("write", rows.front().newest->row);
  }
  Result<bool> Truncate(const Fence&, const apex::Change& truncation, Deadline) override {
    if (Status said_so = Say("truncate", truncation.row); !said_so.ok()) return said_so.error();
    return --parts <= 0;
  }
  Status Undo(const Fence&, std::span<const RowUndo> rows, Deadline) override {
    return Say("undo", rows.front().row);
  }
  Status Ping(Deadline) override { return {}; }

  std::vector<std::string> said;
  std::string refuses;
  int parts = 1;  ///< Of a table that is truncated.

 private:
  Status Say(const std::string& what, const RowId& row) {
    if (row.key == refuses)
      return StoreError{Store::kQdrant, "x", ErrorKind::kTransient, "x", "x", {}};
    said.push_back(what + " " + row.key);
    return {};
  }
};

RowWrite Change(const std::string& key, Operation op) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->vector = VectorMapping{};
  auto change = std::make_shared<apex::Change>();
  change->op = op;
  change->mapping = std::move(mapping);
  change->row = {1, key};
  if (op != Operation::kDelete) change->embedding = "1234";
  return {1, change, {}};
}

RowUndo UndoOf(const std::string& key) { return {nullptr, {1, key}, 2, 1, {}, {}, {}}; }

struct RemovalsTest : testing::Test {
  Status Repeat(Removals& removals) {
    return removals.Repeat(store, Fence{}, Deadline::After(milliseconds(1000)));
  }
  ToldStore store;
};

constexpr milliseconds kLong{1'000'000};

TEST_F(RemovalsTest, RemembersNothingWhileNothingLateCanArrive) {
  Removals removals(Store::kQdrant, kLong);
  removals.Written({Change("a", Operation::kDelete)});
  EXPECT_TRUE(Repeat(removals).ok());
  EXPECT_THAT(store.said, IsEmpty());
}

TEST_F(RemovalsTest, RepeatsWhatWasTakenAwayInOrder) {
  Removals removals(Store::kQdrant, kLong);
  removals.Doubt();
  EXPECT_FALSE(removals.due());
  removals.Written({Change("a", Operation::kDelete)});
  removals.Written({Change("kept", Operation::kUpdate)});
  removals.Undone({UndoOf("b")});
  removals.Written({Change("b", Operation::kDelete)});
  EXPECT_FALSE(removals.due()) << "something may still arrive";
  EXPECT_TRUE(Repeat(removals).ok());
  EXPECT_THAT(store.said, ElementsAre("write a", "undo b", "write b"));
  EXPECT_TRUE(Repeat(removals).ok());
  EXPECT_THAT(store.said, testing::SizeIs(3)) << "once";
}

TEST_F(RemovalsTest, TakesAWholeTableAwayOnceMoreInAllItsParts) {
  Removals removals(Store::kQdrant, kLong);
  removals.Doubt();
  removals.Written({Change("[]", Operation::kTruncate)});
  store.parts = 3;
  EXPECT_TRUE(Repeat(removals).ok());
  EXPECT_THAT(store.said, ElementsAre("truncate []", "truncate []", "truncate []"));
}

TEST_F(RemovalsTest, IsNotDueWhenNothingWasRemoved) {
  Removals removals(Store::kQdrant, milliseconds{0});
  removals.Doubt();
  EXPECT_FALSE(removals.due());
}

TEST_F(RemovalsTest, TakesARowWithoutEmbeddingForRemovedAndLeavesTheOtherStoresToTheirFences) {
  Removals qdrant(Store::kQdrant, kLong);
  Removals neo4j(Store::kNeo4j, kLong);
  Removals redis(Store::kRedis, kLong);
  for (Removals* each : {&qdrant, &neo4j, &redis}) each->Doubt();
  RowWrite without_embedding = Change("a", Operation::kUpdate);
  auto change = std::make_shared<apex::Change>(*without_embedding.newest);
  change->embedding.reset();
  without_embedding.newest = change;
  qdrant.Written({without_embedding});
  neo4j.Written({Change("b", Operation::kDelete)});
  redis.Written({Change("c", Operation::kDelete)});
  for (Removals* each : {&qdrant, &neo4j, &redis}) EXPECT_TRUE(Repeat(*each).ok());
  EXPECT_THAT(store.said, ElementsAre("write a"));
}

TEST_F(RemovalsTest, KeepsWhatCouldNotBeRepeated) {
  Removals removals(Store::kQdrant, kLong);
  removals.Doubt();
  removals.Undone({UndoOf("a")});
  removals.Undone({UndoOf("b")});
  store.refuses = "b";
  EXPECT_FALSE(Repeat(removals).ok());
  store.refuses.clear();
  EXPECT_TRUE(Repeat(removals).ok());
  EXPECT_THAT(store.said, ElementsAre("undo a", "undo b"));
}

}  // namespace
}  // namespace apex::coordinator
