// QdrantStore against a real Qdrant: the server or gateway at APEX_QDRANT_URI. Each test has a
// collection of its own and deletes it.
#include "stores/qdrant/qdrant_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "stores/qdrant/encode.h"
#include "stores/qdrant/point_id.h"
#include "stores/qdrant/request_batcher.h"
#include "stores/qdrant/values.h"

namespace apex::qdrant {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

Deadline Soon() { return Deadline::After(milliseconds(60000)); }

std::string Pack(const std::vector<float>& floats) {
  std::string bytes(floats.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), floats.data(), bytes.size());
  return bytes;
}

ClientOptions Options() {
  const char* uri = std::getenv("APEX_QDRANT_URI");
  const char* key = std::getenv("APEX_QDRANT_API_KEY");
  return {uri == nullptr ? "" : uri, key == nullptr ? "" : key};
}

/// A stored point, or none.
struct Stored {
  std::map<std::string, ::qdrant::Value> payload;
  std::vector<float> vector;
  int64_t seq() const { return payload.at(std::string(kSeqField)).integer_value(); }
  std::string title() const { return payload.at("title").string_value(); }
};

class QdrantStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(Options().uri.empty())
        << "APEX_QDRANT_URI names the gRPC address of a Qdrant for these tests";
    mapping_ = NewMapping(4);
    const Status prepared = Prepare();
    ASSERT_TRUE(prepared.ok()) << Describe(prepared.error());
  }

  void TearDown() override {
    if (mapping_) (void)reader_.DeleteCollection(mapping_->vector->collection, Soon());
  }

  static std::shared_ptr<TableMapping> NewMapping(uint32_t dimensions) {
    auto mapping = std::make_shared<TableMapping>();
    mapping->table = "public.documents";
    mapping->key = {{"id", ColumnKind::kInt}};
    mapping->columns = {
        {"id", ColumnKind::kInt}, {"title", ColumnKind::kText}, {"extra", ColumnKind::kJsonb}};
    mapping->vector.emplace();
    mapping->vector->collection =
        "live-" + std::to_string(std::random_device()()) + std::to_string(std::random_device()());
    mapping->vector->embedding = "embedding";
    mapping->vector->dimensions = dimensions;
    mapping->vector->distance = Distance::kDot;
    mapping->vector->payload = {"title", "extra"};
    return mapping;
  }

  Status Prepare() {
    const std::vector<MappingPtr> mappings = {mapping_};
    return store_.Prepare(fence_, mappings, Soon());
  }

  RowWrite Row(int64_t id, int64_t seq, const std::string& title,
               std::optional<std::string> embedding = Pack({1, 2, 3, 4}),
               const std::string& extra = "null") const {
    auto change = std::make_shared<Change>();
    change->seq = seq;
    change->op = Operation::kUpdate;
    change->mapping = mapping_;
    change->row = {1, "[" + std::to_string(id) + "]"};
    change->after = R"({"id": )" + std::to_string(id) + R"(, "title": ")" + title +
                    R"(", "extra": )" + extra + "}";
    change->embedding = std::move(embedding);
    return {seq, change, {change}};
  }

  RowWrite Gone(int64_t id, int64_t seq) const {
    RowWrite row = Row(id, seq, "");
    auto change = std::make_shared<Change>(*row.newest);
    change->op = Operation::kDelete;
    change->after.reset();
    change->embedding.reset();
    return {seq, change, {change}};
  }

  RowUndo Undo(int64_t id, int64_t failed_seq, int64_t accepted_seq,
               const std::string& title) const {
    const RowWrite accepted = Row(id, accepted_seq, title);
    RowUndo undo;
    undo.mapping = mapping_;
    undo.row = accepted.newest->row;
    undo.failed_seq = failed_seq;
    undo.accepted_seq = accepted_seq;
    undo.accepted = accepted.newest->after;
    undo.accepted_embedding = accepted.newest->embedding;
    return undo;
  }

  Status Write(std::vector<RowWrite> rows) { return store_.Write(fence_, rows, Soon()); }
  /// In how many parts the store took the table away.
  int Truncate(int64_t seq) {
    Change truncation;
    truncation.seq = seq;
    truncation.op = Operation::kTruncate;
    truncation.mapping = mapping_;
    truncation.row = {1, "[]"};
    for (int parts = 1;; ++parts) {
      Result<bool> done = store_.Truncate(fence_, truncation, Soon());
      EXPECT_TRUE(done.ok()) << Describe(done.error());
      if (!done.ok() || *done) return parts;
    }
  }
  Status Undo(const RowUndo& undo) {
    return store_.Undo(fence_, std::vector<RowUndo>{undo}, Soon());
  }

  void ExpectWritten(std::vector<RowWrite> rows) {
    const Status status = Write(std::move(rows));
    ASSERT_TRUE(status.ok()) << Describe(status.error());
  }

  void ExpectUndone(const RowUndo& undo) {
    const Status status = Undo(undo);
    ASSERT_TRUE(status.ok()) << Describe(status.error());
  }

  /// Points as somebody else makes them.
  void WriteByHand(std::initializer_list<uint64_t> ids) {
    ::qdrant::UpdateBatchPoints request;
    request.set_collection_name(mapping_->vector->collection);
    request.set_wait(true);
    for (const uint64_t id : ids) {
      auto* point = request.add_operations()->mutable_upsert()->add_points();
      point->mutable_id()->set_num(id);
      (*point->mutable_payload())["title"].set_string_value("by hand");
      auto* data = point->mutable_vectors()->mutable_vector()->mutable_dense()->mutable_data();
      data->Resize(4, 1);
    }
    bool sent = false;
    const Status by_hand = reader_.UpdateAll(
        [&]() -> Result<std::optional<UpdateRequest>> {
          if (std::exchange(sent, true)) return std::optional<UpdateRequest>();
          return std::optional(
              UpdateRequest{request.SerializeAsString(), request.operations_size()});
        },
        Soon());
    ASSERT_TRUE(by_hand.ok()) << Describe(by_hand.error());
  }

  std::map<uint64_t, Stored> Read(const std::vector<uint64_t>& ids) {
    ::qdrant::GetPoints request;
    request.set_collection_name(mapping_->vector->collection);
    for (const uint64_t id : ids) request.add_ids()->set_num(id);
    request.mutable_with_payload()->set_enable(true);
    request.mutable_with_vectors()->set_enable(true);
    auto response = reader_.GetPoints(request, Soon());
    EXPECT_TRUE(response.ok()) << Describe(response.error());
    std::map<uint64_t, Stored> found;
    if (!response.ok()) return found;
    for (const auto& point : response->result()) {
      Stored& stored = found[point.id().num()];
      stored.payload = {point.payload().begin(), point.payload().end()};
      const auto& named = point.vectors().vectors().vectors();
      const auto& output = named.empty() ? point.vectors().vector() : named.begin()->second;
      const auto& data = output.has_dense() ? output.dense().data() : output.data();
      stored.vector = {data.begin(), data.end()};
    }
    return found;
  }

  std::optional<Stored> Read(uint64_t id) {
    const auto found = Read(std::vector<uint64_t>{id});
    return found.empty() ? std::nullopt : std::optional(found.begin()->second);
  }

  Fence fence_{"default", 1};
  QdrantStore store_{Options()};
  Client reader_{Options()};
  std::shared_ptr<TableMapping> mapping_;
};

TEST_F(QdrantStoreTest, RowArrivesWithPayloadVectorAndVersion) {
  ExpectWritten({Row(7, 10, "Zoë", Pack({1, 2, 3, 4}),
                     R"({"deep": [1, null, {"x": 9223372036854775807}]})")});
  const auto stored = Read(7);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->title(), "Zoë");
  EXPECT_EQ(stored->seq(), 10);
  EXPECT_EQ(stored->payload.at("id").integer_value(), 7);
  EXPECT_THAT(stored->vector, testing::ElementsAre(1, 2, 3, 4));
  const auto& deep = stored->payload.at("extra").struct_value().fields().at("deep").list_value();
  EXPECT_EQ(deep.values(2).struct_value().fields().at("x").integer_value(), 9223372036854775807);
}

TEST_F(QdrantStoreTest, PrepareTwiceChangesNothing) {
  ExpectWritten({Row(1, 1, "kept")});
  ASSERT_TRUE(Prepare().ok());
  EXPECT_EQ(Read(1)->title(), "kept");
}

TEST_F(QdrantStoreTest, ReplayLeavesTheSameRow) {
  for (int turn = 0; turn < 3; ++turn)
    ExpectWritten({Row(1, 5, "once"), Row(2, 6, "once"), Gone(3, 7)});
  EXPECT_EQ(Read(1)->seq(), 5);
  EXPECT_EQ(Read(2)->seq(), 6);
  EXPECT_FALSE(Read(3));
}

TEST_F(QdrantStoreTest, OlderVersionNeverReplacesANewerOne) {
  ExpectWritten({Row(1, 10, "new")});
  ExpectWritten({Row(1, 9, "old")});
  EXPECT_EQ(Read(1)->title(), "new");
  ExpectWritten({Gone(1, 9)});
  EXPECT_EQ(Read(1)->title(), "new");
  ExpectWritten({Row(1, 9, "old", std::nullopt)});
  EXPECT_EQ(Read(1)->title(), "new");
}

TEST_F(QdrantStoreTest, NewerVersionReplacesPayloadAndVectorWhole) {
  ExpectWritten({Row(1, 1, "first", Pack({1, 1, 1, 1}), R"({"a": 1})")});
  ExpectWritten({Row(1, 2, "second", Pack({2, 2, 2, 2}))});
  const auto stored = Read(1);
  EXPECT_EQ(stored->title(), "second");
  EXPECT_EQ(stored->vector[0], 2);
  EXPECT_EQ(stored->payload.at("extra").kind_case(), ::qdrant::Value::kNullValue);
}

TEST_F(QdrantStoreTest, UpdateOfThePayloadReplacesItWholeAndLeavesTheVector) {
  ExpectWritten({Row(1, 1, "first", Pack({1, 2, 3, 4}), R"({"a": 1})"), Row(2, 2, "other")});
  for (int64_t seq = 3; seq < 6; ++seq) {
    ExpectWritten({Row(1, seq, "title " + std::to_string(seq))});
    const auto stored = Read(1);
    EXPECT_EQ(stored->seq(), seq);
    EXPECT_EQ(stored->title(), "title " + std::to_string(seq));
    EXPECT_EQ(stored->payload.at("extra").kind_case(), ::qdrant::Value::kNullValue);
    EXPECT_EQ(stored->payload.size(), 4u);
    EXPECT_THAT(stored->vector, testing::ElementsAre(1, 2, 3, 4));
  }
  EXPECT_EQ(Read(2)->title(), "other");
}

TEST_F(QdrantStoreTest, UpdateOfThePayloadBringsAPointBackThatSomebodyTookAway) {
  ExpectWritten({Row(1, 1, "a"), Row(2, 2, "b")});
  QdrantStore another(Options());
  const std::vector<RowWrite> gone = {Gone(1, 3)};
  ASSERT_TRUE(another.Write(fence_, gone, Soon()).ok());
  ExpectWritten({Row(1, 4, "back"), Row(2, 5, "changed")});
  EXPECT_EQ(Read(1)->title(), "back");
  EXPECT_THAT(Read(1)->vector, testing::ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(Read(2)->title(), "changed");
}

TEST_F(QdrantStoreTest, UpdateOfThePayloadAfterAnUndoBringsItsOwnVector) {
  ExpectWritten({Row(1, 1, "accepted", Pack({1, 1, 1, 1}))});
  ExpectWritten({Row(1, 2, "failed", Pack({2, 2, 2, 2}))});
  RowUndo undo = Undo(1, 2, 1, "accepted");
  undo.accepted_embedding = Pack({1, 1, 1, 1});
  ExpectUndone(undo);
  ExpectWritten({Row(1, 3, "next", Pack({2, 2, 2, 2}))});
  EXPECT_EQ(Read(1)->title(), "next");
  EXPECT_THAT(Read(1)->vector, testing::ElementsAre(2, 2, 2, 2));
}

TEST_F(QdrantStoreTest, PayloadsOfManyRowsAreReplacedInManyRequests) {
  constexpr int kRows = 2 * kRequestOperationsMax + 3;
  std::vector<RowWrite> inserts;
  std::vector<RowWrite> updates;
  std::vector<uint64_t> ids;
  for (int id = 0; id < kRows; ++id) {
    inserts.push_back(Row(id, id + 1, "old"));
    updates.push_back(Row(id, kRows + id + 1, "new " + std::to_string(id)));
    ids.push_back(id);
  }
  ExpectWritten(inserts);
  ExpectWritten(updates);
  const auto stored = Read(ids);
  ASSERT_EQ(stored.size(), static_cast<size_t>(kRows));
  for (const auto& [id, point] : stored) {
    EXPECT_EQ(point.title(), "new " + std::to_string(id));
    EXPECT_THAT(point.vector, testing::ElementsAre(1, 2, 3, 4));
  }
}

TEST_F(QdrantStoreTest, NamedVectorIsWrittenUnderItsName) {
  mapping_ = NewMapping(4);
  mapping_->vector->name = "title-vector";
  const Status prepared = Prepare();
  ASSERT_TRUE(prepared.ok()) << Describe(prepared.error());
  EXPECT_TRUE(Prepare().ok()) << "the collection fits";
  ExpectWritten({Row(1, 1, "one", Pack({4, 3, 2, 1}))});
  ExpectWritten({Row(1, 2, "two", Pack({4, 3, 2, 1}))});
  EXPECT_EQ(Read(1)->title(), "two");
  EXPECT_THAT(Read(1)->vector, testing::ElementsAre(4, 3, 2, 1));
  ExpectWritten({Row(1, 3, "three", Pack({1, 1, 1, 1}))});
  EXPECT_THAT(Read(1)->vector, testing::ElementsAre(1, 1, 1, 1));
}

TEST_F(QdrantStoreTest, DeletedRowAndNullEmbeddingLeaveNoPoint) {
  ExpectWritten({Row(1, 1, "a"), Row(2, 2, "b")});
  ExpectWritten({Gone(1, 3), Row(2, 4, "b", std::nullopt)});
  EXPECT_FALSE(Read(1));
  EXPECT_FALSE(Read(2));
}

TEST_F(QdrantStoreTest, PointThatSomebodyElseWroteWithoutAVersionIsTakenOver) {
  WriteByHand({1, 2});
  ExpectWritten({Row(1, 3, "ours"), Gone(2, 4)});
  EXPECT_EQ(Read(1)->title(), "ours");
  EXPECT_FALSE(Read(2));
}

TEST_F(QdrantStoreTest, ManyRowsInManyRequestsArriveEachOnce) {
  constexpr int kRows = 5 * kRequestOperationsMax + 3;
  std::vector<RowWrite> rows;
  std::vector<uint64_t> ids;
  for (int id = 0; id < kRows; ++id) {
    rows.push_back(Row(id, id + 1, "row " + std::to_string(id)));
    ids.push_back(id);
  }
  ExpectWritten(rows);
  const auto stored = Read(ids);
  ASSERT_EQ(stored.size(), static_cast<size_t>(kRows));
  for (const auto& [id, point] : stored) EXPECT_EQ(point.seq(), static_cast<int64_t>(id) + 1);
}

TEST_F(QdrantStoreTest, TwoStoresThatWriteTheSameRowsLeaveTheNewest) {
  constexpr int kRows = 300;
  const auto write = [this](int64_t first_seq) {
    QdrantStore store(Options());
    for (int64_t turn = 0; turn < 5; ++turn) {
      std::vector<RowWrite> rows;
      rows.reserve(kRows);
      for (int id = 0; id < kRows; ++id)
        rows.push_back(Row(id, first_seq + turn * 10, "concurrent"));
      const Status status = store.Write(fence_, rows, Soon());
      EXPECT_TRUE(status.ok()) << Describe(status.error());
    }
  };
  std::thread other(write, 1);
  write(2);
  other.join();
  std::vector<uint64_t> ids(kRows);
  for (int id = 0; id < kRows; ++id) ids[id] = id;
  for (const auto& [id, point] : Read(ids)) EXPECT_EQ(point.seq(), 42) << id;
}

TEST_F(QdrantStoreTest, TruncateTakesOlderVersionsAndLeavesNewerOnesAndWhatIsNotOurs) {
  ExpectWritten({Row(1, 10, "older"), Row(2, 19, "older"), Row(3, 20, "at"), Row(4, 21, "newer")});
  WriteByHand({5});
  EXPECT_EQ(Truncate(20), 1);
  EXPECT_THAT(Read({1, 2, 3, 4, 5}),
              testing::UnorderedElementsAre(testing::Key(3), testing::Key(4), testing::Key(5)));
  EXPECT_EQ(Truncate(20), 1);
  EXPECT_EQ(Read(4)->title(), "newer");
}

TEST_F(QdrantStoreTest, TruncateTakesALargeTableInParts) {
  constexpr int64_t kRows = 12000;
  std::vector<RowWrite> rows;
  for (int64_t id = 1; id <= kRows; ++id) rows.push_back(Row(id, id, "r"));
  ExpectWritten(std::move(rows));
  EXPECT_EQ(Truncate(kRows), 3);
  EXPECT_THAT(Read({1, 5001, kRows - 1, kRows}), testing::ElementsAre(testing::Key(kRows)));
}

TEST_F(QdrantStoreTest, TruncateOfACollectionThatIsNotThereIsDone) {
  ASSERT_TRUE(reader_.DeleteCollection(mapping_->vector->collection, Soon()).ok());
  EXPECT_EQ(Truncate(5), 1);
}

TEST_F(QdrantStoreTest, WrongDimensionIsPermanentInQdrantsOwnWords) {
  const Status status = Write({Row(1, 1, "short", Pack({1, 2, 3}))});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(status.error().native_code, "INVALID_ARGUMENT");
  EXPECT_THAT(status.error().message, HasSubstr("Vector dimension error: expected dim: 4, got 3"));
  EXPECT_FALSE(Read(1));
}

TEST_F(QdrantStoreTest, RowsBesideARefusedOneArriveWhenSentAgainWithoutIt) {
  ASSERT_FALSE(Write({Row(1, 1, "good"), Row(2, 2, "bad", Pack({1})), Row(3, 3, "good")}).ok());
  ExpectWritten({Row(1, 1, "good"), Row(3, 3, "good")});
  EXPECT_EQ(Read(1)->seq(), 1);
  EXPECT_FALSE(Read(2));
  EXPECT_EQ(Read(3)->seq(), 3);
}

TEST_F(QdrantStoreTest, NanIsRefusedBeforeItIsSent) {
  const Status status = Write({Row(1, 1, "x", Pack({1, NAN, 3, 4}))});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().native_code, kUnencodable);
  EXPECT_THAT(status.error().message, HasSubstr("public.documents [1], column embedding"));
}

TEST_F(QdrantStoreTest, DeepestJsonThatIsEncodedIsDecodedByTheStore) {
  std::string objects;
  for (int level = 0; level < kNestingMax; ++level) objects += R"({"a": )";
  objects += "1" + std::string(kNestingMax, '}');
  const std::string lists = std::string(kNestingMax, '[') + std::string(kNestingMax, ']');
  ExpectWritten({Row(1, 1, "objects", Pack({1, 2, 3, 4}), objects),
                 Row(2, 2, "lists", Pack({1, 2, 3, 4}), lists)});
  EXPECT_TRUE(Read(1));
  EXPECT_TRUE(Read(2));
}

TEST_F(QdrantStoreTest, UndoOfAnInsertRemovesThePoint) {
  ExpectWritten({Row(1, 10, "failed")});
  RowUndo undo = Undo(1, 10, 9, "");
  undo.accepted.reset();
  undo.accepted_embedding.reset();
  ExpectUndone(undo);
  EXPECT_FALSE(Read(1));
  ExpectUndone(undo);
}

TEST_F(QdrantStoreTest, UndoOfAnUpdatePutsTheAcceptedImageBack) {
  ExpectWritten({Row(1, 5, "accepted")});
  ExpectWritten({Row(1, 10, "failed", Pack({9, 9, 9, 9}))});
  for (int turn = 0; turn < 2; ++turn) {
    ExpectUndone(Undo(1, 10, 9, "accepted"));
    EXPECT_EQ(Read(1)->title(), "accepted");
    EXPECT_EQ(Read(1)->seq(), 9);
    EXPECT_THAT(Read(1)->vector, testing::ElementsAre(1, 2, 3, 4));
  }
  ExpectWritten({Row(1, 11, "next")});
  EXPECT_EQ(Read(1)->title(), "next");
}

TEST_F(QdrantStoreTest, UndoTakesBackAnEarlierOneOfSeveralFailedChanges) {
  ExpectWritten({Row(1, 5, "accepted")});
  ExpectWritten({Row(1, 8, "first of the failed")});
  ExpectUndone(Undo(1, 10, 7, "accepted"));
  EXPECT_EQ(Read(1)->title(), "accepted");
  EXPECT_EQ(Read(1)->seq(), 7);
}

TEST_F(QdrantStoreTest, UndoOfADeleteBringsThePointBack) {
  ExpectWritten({Row(1, 5, "accepted")});
  ExpectWritten({Gone(1, 10)});
  ExpectUndone(Undo(1, 10, 9, "accepted"));
  EXPECT_EQ(Read(1)->title(), "accepted");
}

TEST_F(QdrantStoreTest, UndoLeavesAnotherVersionAlone) {
  ExpectWritten({Row(1, 11, "later")});
  ExpectUndone(Undo(1, 10, 9, "accepted"));
  EXPECT_EQ(Read(1)->title(), "later");
  RowUndo removal = Undo(1, 10, 9, "");
  removal.accepted.reset();
  ExpectUndone(removal);
  EXPECT_EQ(Read(1)->title(), "later");
}

TEST_F(QdrantStoreTest, UndoOfARowThatNeverArrivedLeavesTheAcceptedVersion) {
  ExpectWritten({Row(1, 5, "accepted")});
  ExpectUndone(Undo(1, 10, 9, "accepted"));
  EXPECT_EQ(Read(1)->seq(), 5);
}

TEST_F(QdrantStoreTest, CollectionOfAnotherDimensionIsRefusedAtPrepare) {
  auto other = std::make_shared<TableMapping>(*mapping_);
  other->vector->dimensions = 8;
  const std::vector<MappingPtr> mappings = {other};
  const Status status = store_.Prepare(fence_, mappings, Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_THAT(status.error().message, HasSubstr("holds vectors of 4 dimensions"));
  EXPECT_THAT(status.error().message, HasSubstr("8 dimensions"));
}

TEST_F(QdrantStoreTest, ExamineFindsWhatPrepareWouldRefuseAndMakesNothing) {
  auto missing = NewMapping(4);
  std::vector<MappingPtr> mappings = {mapping_, missing};
  EXPECT_TRUE(store_.Examine(mappings, Soon()).ok());
  auto info = reader_.GetCollection(missing->vector->collection, Soon());
  ASSERT_TRUE(info.ok());
  EXPECT_FALSE(info->has_value());

  auto other = std::make_shared<TableMapping>(*mapping_);
  other->vector->dimensions = 8;
  mappings = {other};
  const Status status = store_.Examine(mappings, Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().native_code, "apex.collection");
}

TEST_F(QdrantStoreTest, MissingCollectionIsTheStoresTrouble) {
  ASSERT_TRUE(reader_.DeleteCollection(mapping_->vector->collection, Soon()).ok());
  const Status status = Write({Row(1, 1, "x")});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(status.error().native_code, "NOT_FOUND");
  ASSERT_TRUE(Prepare().ok());
  ExpectWritten({Row(1, 1, "x")});
}

TEST_F(QdrantStoreTest, RowOfATableWithoutAVectorIsSkipped) {
  auto plain = std::make_shared<TableMapping>(*mapping_);
  plain->vector.reset();
  RowWrite row = Row(1, 1, "x");
  auto change = std::make_shared<Change>(*row.newest);
  change->mapping = plain;
  ExpectWritten({{1, change, {change}}});
}

TEST_F(QdrantStoreTest, PingAnswers) { EXPECT_TRUE(store_.Ping(Soon()).ok()); }

TEST(QdrantStoreWithoutServerTest, NobodyListeningIsTransient) {
  QdrantStore store({"http://127.0.0.1:1", ""});
  const Status status = store.Ping(Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kTransient) << Describe(status.error());
}

TEST(QdrantStoreWithoutServerTest, UnusableUriIsPermanentAndKeepsItsSecretsToItself) {
  QdrantStore store({"redis://:secret@host", "key"});
  const Status status = store.Ping(Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_THAT(Describe(status.error()), testing::Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace apex::qdrant
