#include "stores/qdrant/request_batcher.h"

#include <gtest/gtest.h>

#include <vector>

#include "qdrant.pb.h"

namespace apex::qdrant {
namespace {

struct Operation {
  std::string collection;
  std::string bytes;
};

Operation Sized(const std::string& collection, size_t bytes, uint64_t id = 0) {
  ::qdrant::PointsUpdateOperation operation;
  auto* point = operation.mutable_upsert()->add_points();
  point->mutable_id()->set_num(id);
  (*point->mutable_payload())["filler"].set_string_value(std::string(bytes, 'x'));
  return {collection, operation.SerializeAsString()};
}

RequestBatcher::Source From(std::vector<Operation> all) {
  return [all = std::move(all), next = size_t{0}]() mutable -> Result<std::optional<Addressed>> {
    if (next == all.size()) return std::optional<Addressed>();
    const Operation& operation = all[next++];
    return std::optional(Addressed{operation.collection, operation.bytes});
  };
}

std::vector<::qdrant::UpdateBatchPoints> Requests(std::vector<Operation> all) {
  RequestBatcher batcher(From(std::move(all)));
  std::vector<::qdrant::UpdateBatchPoints> requests;
  while (true) {
    auto next = batcher.Next();
    EXPECT_TRUE(next.ok());
    if (!*next) return requests;
    requests.emplace_back();
    EXPECT_TRUE(requests.back().ParseFromString((*next)->bytes));
    EXPECT_EQ(requests.back().operations_size(), (*next)->operations);
  }
}

TEST(RequestBatcherTest, NothingMakesNoRequest) { EXPECT_TRUE(Requests({}).empty()); }

TEST(RequestBatcherTest, EveryRequestWaits) { EXPECT_TRUE(Requests({Sized("a", 1)})[0].wait()); }

TEST(RequestBatcherTest, RequestsStayUnderTheByteLimitAndLoseNothing) {
  std::vector<Operation> all;
  for (uint64_t id = 0; id < 40; ++id) all.push_back(Sized("a", 300'000, id));
  uint64_t expected = 0;
  const auto requests = Requests(std::move(all));
  EXPECT_GT(requests.size(), 1u);
  for (const auto& request : requests) {
    EXPECT_LE(request.ByteSizeLong(), kRequestBytesMax + 100);
    for (const auto& operation : request.operations())
      EXPECT_EQ(operation.upsert().points(0).id().num(), expected++);
  }
  EXPECT_EQ(expected, 40u);
}

TEST(RequestBatcherTest, OperationLargerThanTheLimitGoesAlone) {
  const auto requests =
      Requests({Sized("a", 10), Sized("a", kRequestBytesMax + 1), Sized("a", 10)});
  ASSERT_EQ(requests.size(), 3u);
  for (const auto& request : requests) EXPECT_EQ(request.operations_size(), 1);
}

TEST(RequestBatcherTest, OperationsOfARequestAreBounded) {
  const auto requests =
      Requests(std::vector<Operation>(2 * kRequestOperationsMax + 1, Sized("a", 1)));
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].operations_size(), kRequestOperationsMax);
  EXPECT_EQ(requests[2].operations_size(), 1);
}

TEST(RequestBatcherTest, RequestNamesOneCollection) {
  const auto requests = Requests({Sized("a", 1), Sized("a", 1), Sized("b", 1)});
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].collection_name(), "a");
  EXPECT_EQ(requests[0].operations_size(), 2);
  EXPECT_EQ(requests[1].collection_name(), "b");
}

TEST(RequestBatcherTest, ErrorOfTheSourceIsReturned) {
  RequestBatcher batcher([]() -> Result<std::optional<Addressed>> {
    StoreError error;
    error.message = "no";
    return error;
  });
  const auto next = batcher.Next();
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().message, "no");
}

}  // namespace
}  // namespace apex::qdrant
