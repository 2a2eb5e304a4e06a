// What QdrantStore sends of a row whose payload alone has changed; what it leaves in a real store
// is tested by live_qdrant.
#include "stores/qdrant/qdrant_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

#include "fake_server.h"

namespace apex::qdrant {
namespace {

using PointOperation = ::qdrant::PointsUpdateOperation;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

std::string Vector(float first) {
  const float floats[] = {first, 2};
  return {reinterpret_cast<const char*>(floats), sizeof floats};
}

class QdrantStoreTest : public testing::Test {
 protected:
  QdrantStoreTest() {
    auto mapping = std::make_shared<TableMapping>();
    mapping->table = "public.t";
    mapping->key = {{"id", ColumnKind::kInt}};
    mapping->columns = {{"id", ColumnKind::kInt}, {"title", ColumnKind::kText}};
    mapping->vector.emplace();
    mapping->vector->collection = "t";
    mapping->vector->embedding = "embedding";
    mapping->vector->dimensions = 2;
    mapping->vector->payload = {"title"};
    mapping_ = mapping;
  }

  RowWrite Row(int64_t id, int64_t seq, float vector, Operation op = Operation::kUpdate) const {
    auto change = std::make_shared<Change>();
    change->seq = seq;
    change->op = op;
    change->mapping = mapping_;
    change->row = {1, "[" + std::to_string(id) + "]"};
    change->after = R"({"id": )" + std::to_string(id) + R"(, "title": "x"})";
    change->embedding = Vector(vector);
    return {seq, change, {change}};
  }

  Status Write(std::vector<RowWrite> rows) {
    {
      const std::lock_guard lock(mutex_);
      sent_.clear();
      asked_.clear();
    }
    return store_.Write(Fence{"default", 1}, rows, Soon());
  }

  void ExpectWritten(std::vector<RowWrite> rows) {
    const Status status = Write(std::move(rows));
    EXPECT_TRUE(status.ok()) << Describe(status.error());
  }

  /// The operations that arrived since the last Write, in any order of requests.
  std::vector<PointOperation> SentOperations() {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

  std::vector<PointOperation::OperationCase> Sent() {
    const std::lock_guard lock(mutex_);
    std::vector<PointOperation::OperationCase> cases;
    cases.reserve(sent_.size());
    for (const PointOperation& operation : sent_) cases.push_back(operation.operation_case());
    return cases;
  }

  /// The ids whose versions were asked for since the last Write.
  std::vector<uint64_t> Asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  /// What the store answers when it is asked for versions.
  void Hold(uint64_t id, int64_t version) {
    const std::lock_guard lock(mutex_);
    held_[id] = version;
  }

  MappingPtr mapping_;
  std::mutex mutex_;  ///< Of these: the server has threads of its own.
  std::vector<PointOperation> sent_;
  std::vector<uint64_t> asked_;
  std::map<uint64_t, int64_t> held_;
  FakeServer server_{[this](auto*, const auto& request, auto* response) {
                       const std::lock_guard lock(mutex_);
                       for (const auto& operation : request.operations())
                         sent_.push_back(operation);
                       return Complete(request, response);
                     },
                     [this](const ::qdrant::GetPoints& request, ::qdrant::GetResponse* response) {
                       EXPECT_THAT(request.with_payload().include().fields(),
                                   ElementsAre("_apex_seq"));
                       EXPECT_FALSE(request.with_vectors().enable());
                       const std::lock_guard lock(mutex_);
                       for (const auto& id : request.ids()) {
                         asked_.push_back(id.num());
                         const auto found = held_.find(id.num());
                         if (found == held_.end()) continue;
                         auto* point = response->add_result();
                         *point->mutable_id() = id;
                         (*point->mutable_payload())["_apex_seq"].set_integer_value(found->second);
                       }
                       return grpc::Status::OK;
                     }};
  QdrantStore store_{server_.options()};
};

TEST_F(QdrantStoreTest, SendsThePayloadAloneOfAnUpdatedRowWhoseVectorIsThere) {
  ExpectWritten({Row(1, 10, 1, Operation::kInsert)});
  EXPECT_THAT(Sent(), ElementsAre(PointOperation::kUpsert));
  EXPECT_THAT(Asked(), IsEmpty());
  Hold(1, 20);
  ExpectWritten({Row(1, 20, 1)});
  ASSERT_THAT(Sent(), ElementsAre(PointOperation::kOverwritePayload));
  const std::vector<PointOperation> sent = SentOperations();
  const auto& selected = sent[0].overwrite_payload().points_selector().filter();
  EXPECT_THAT(selected.must(), SizeIs(2));
  EXPECT_EQ(selected.must(0).has_id().has_id(0).num(), 1u);
  EXPECT_EQ(selected.must(1).field().range().gt(), 9);
  EXPECT_EQ(selected.must(1).field().range().lte(), 10);
  EXPECT_THAT(Asked(), ElementsAre(1));
}

TEST_F(QdrantStoreTest, GoesOnFromThePayloadThatItSent) {
  ExpectWritten({Row(1, 10, 1)});
  for (int64_t seq : {20, 30}) {
    Hold(1, seq);
    ExpectWritten({Row(1, seq, 1)});
    ASSERT_THAT(Sent(), ElementsAre(PointOperation::kOverwritePayload));
    const std::vector<PointOperation> sent = SentOperations();
    EXPECT_EQ(sent[0].overwrite_payload().points_selector().filter().must(1).field().range().lte(),
              static_cast<double>(seq - 10));
  }
}

TEST_F(QdrantStoreTest, SendsARowWholeWhosePointTurnsOutToBeGoneOrOfAnotherVersion) {
  ExpectWritten({Row(1, 10, 1), Row(2, 11, 1), Row(3, 12, 1)});
  Hold(1, 20);
  Hold(2, 5);
  ExpectWritten({Row(1, 20, 1), Row(2, 21, 1), Row(3, 22, 1)});
  EXPECT_THAT(Sent(),
              ElementsAre(PointOperation::kOverwritePayload, PointOperation::kOverwritePayload,
                          PointOperation::kOverwritePayload, PointOperation::kUpsert,
                          PointOperation::kUpsert));
  const std::vector<PointOperation> sent = SentOperations();
  EXPECT_EQ(sent[3].upsert().points(0).id().num(), 2u);
  EXPECT_EQ(sent[4].upsert().points(0).id().num(), 3u);
  EXPECT_TRUE(sent[4].upsert().points(0).has_vectors());
}

TEST_F(QdrantStoreTest, LeavesAPointAloneThatIsNewerThanWhatWasSent) {
  ExpectWritten({Row(1, 10, 1)});
  Hold(1, 30);
  ExpectWritten({Row(1, 20, 1)});
  EXPECT_THAT(Sent(), ElementsAre(PointOperation::kOverwritePayload));
}

TEST_F(QdrantStoreTest, SendsARowWholeWhoseVectorHasChanged) {
  ExpectWritten({Row(1, 10, 1)});
  ExpectWritten({Row(1, 20, 5)});
  EXPECT_THAT(Sent(), ElementsAre(PointOperation::kUpsert));
}

TEST_F(QdrantStoreTest, SendsARefreshAndWhatIsCoalescedWithItWhole) {
  ExpectWritten({Row(1, 10, 1)});
  ExpectWritten({Row(1, 20, 1, Operation::kRefresh)});
  EXPECT_THAT(Sent(), ElementsAre(PointOperation::kUpsert)) << "it may be there to mend the point";
  RowWrite both = Row(1, 40, 1);
  both.changes = {Row(1, 30, 1, Operation::kRefresh).newest, both.newest};
  ExpectWritten({both});
  EXPECT_THAT(Sent(), ElementsAre(PointOperation::kUpsert));
}

TEST_F(QdrantStoreTest, SendsAReplayOfWhatItHasWrittenWhole) {
  ExpectWritten({Row(1, 10, 1)});
  ExpectWritten({Row(1, 10, 1)});
  EXPECT_THAT(Sent(), ElementsAre(PointOperation::kUpsert));
}

}  // namespace
}  // namespace apex::qdrant
