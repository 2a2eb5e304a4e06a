// The client against a server that misbehaves on demand.
#include "stores/qdrant/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "fake_server.h"

namespace apex::qdrant {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

Deadline Soon() { return Deadline::After(milliseconds(60000)); }

UpdateRequest Encoded(const ::qdrant::UpdateBatchPoints& request) {
  return {request.SerializeAsString(), request.operations_size()};
}

/// `count` requests of two operations each; `pulled` counts how many were asked for.
Client::Requests Requests(int count, int* pulled) {
  *pulled = 0;
  return [count, pulled]() -> Result<std::optional<UpdateRequest>> {
    if (*pulled == count) return std::optional<UpdateRequest>();
    ::qdrant::UpdateBatchPoints request;
    request.set_collection_name(std::to_string((*pulled)++));
    request.add_operations();
    request.add_operations();
    return std::optional(Encoded(request));
  };
}

Status Send(const FakeServer& server, int requests, Deadline deadline = Soon(),
            int* pulled = nullptr) {
  int ignored = 0;
  Client client(server.options());
  return client.UpdateAll(Requests(requests, pulled == nullptr ? &ignored : pulled), deadline);
}

TEST(ClientTest, EveryRequestCompletedIsSuccess) {
  FakeServer server(
      [](auto*, const auto& request, auto* response) { return Complete(request, response); });
  int pulled = 0;
  EXPECT_TRUE(Send(server, 10, Soon(), &pulled).ok());
  EXPECT_EQ(pulled, 10);
  EXPECT_TRUE(Send(server, 0).ok());
}

TEST(ClientTest, AnyStatusButCompletedIsAnUnknownOutcome) {
  for (const auto status : {::qdrant::UnknownUpdateStatus, ::qdrant::Acknowledged,
                            ::qdrant::ClockRejected, ::qdrant::WaitTimeout}) {
    FakeServer server([status](auto*, const auto& request, auto* response) {
      Complete(request, response);
      response->mutable_result(1)->set_status(status);
      return grpc::Status::OK;
    });
    const Status sent = Send(server, 1);
    ASSERT_FALSE(sent.ok());
    EXPECT_EQ(sent.error().kind, ErrorKind::kUnknownOutcome);
    EXPECT_THAT(sent.error().message, HasSubstr(::qdrant::UpdateStatus_Name(status)));
  }
}

TEST(ClientTest, FewerResultsThanOperationsAreAnUnknownOutcome) {
  FakeServer server([](auto*, const auto&, auto* response) {
    response->add_result()->set_status(::qdrant::Completed);
    return grpc::Status::OK;
  });
  const Status sent = Send(server, 1);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(sent.error().message, "answered for 1 of 2 operations");
}

TEST(ClientTest, RequestsOverlapAndStayWithinTheBound) {
  std::mutex mutex;
  std::condition_variable changed;
  int now = 0;
  int most = 0;
  FakeServer server([&](auto*, const auto& request, auto* response) {
    std::unique_lock lock(mutex);
    most = std::max(most, ++now);
    changed.notify_all();
    // Each waits until the bound is reached once, so that overlap is certain.
    changed.wait_for(lock, std::chrono::seconds(30), [&] { return most >= kRequestsInFlightMax; });
    --now;
    return Complete(request, response);
  });
  EXPECT_TRUE(Send(server, 20).ok());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(most, kRequestsInFlightMax);
}

TEST(ClientTest, NothingMoreIsSentAfterAFailure) {
  FakeServer server([](auto*, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "Wrong input");
  });
  int pulled = 0;
  EXPECT_FALSE(Send(server, 100, Soon(), &pulled).ok());
  EXPECT_LE(pulled, kRequestsInFlightMax);
}

TEST(ClientTest, PermanentFailureIsReportedBeforeTransientOnes) {
  FakeServer server([](auto*, const auto& request, auto*) {
    return request.collection_name() == "2"
               ? grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the row")
               : grpc::Status(grpc::StatusCode::ABORTED, "the store");
  });
  const Status sent = Send(server, kRequestsInFlightMax);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().message, "the row");
}

TEST(ClientTest, WriteLimitLeavesAnUnknownOutcomeAndItsRetryAfterIsHonoured) {
  FakeServer server([](auto* context, const auto&, auto*) {
    context->AddTrailingMetadata("retry-after", "7");
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "Rate limiting exceeded");
  });
  const Status sent = Send(server, 1);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().kind, ErrorKind::kUnknownOutcome) << "what came before it was applied";
  EXPECT_EQ(sent.error().retry_after, milliseconds(7000));
}

TEST(ClientTest, WriteLimitThatNamesNoTimeHasNone) {
  FakeServer server([](auto*, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "Rate limiting exceeded");
  });
  const Status sent = Send(server, 1);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(sent.error().retry_after, std::nullopt);
}

TEST(ClientTest, RequestThatNoWriteLimitWouldLetThroughIsPermanent) {
  FakeServer server([](auto*, const auto&, auto*) {
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                        "Rate limiting exceeded: Write rate limit exceeded, request larger than "
                        "rate limiter capacity, please try to split your request");
  });
  const Status sent = Send(server, 1);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().kind, ErrorKind::kPermanent) << "so that it is halved";
}

TEST(ClientTest, ServerThatDoesNotAnswerIsAnUnknownOutcomeAtTheDeadline) {
  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  FakeServer server([&](auto*, const auto& request, auto* response) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return released; });
    return Complete(request, response);
  });
  const Status sent = Send(server, 2, Deadline::After(milliseconds(300)));
  {
    const std::lock_guard lock(mutex);
    released = true;
  }
  changed.notify_all();
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(sent.error().native_code, "DEADLINE_EXCEEDED");
}

TEST(ClientTest, EveryCallCarriesTheApiKey) {
  std::string key;
  FakeServer server([&key](auto* context, const auto& request, auto* response) {
    const auto found = context->client_metadata().find("api-key");
    if (found != context->client_metadata().end())
      key.assign(found->second.data(), found->second.size());
    return Complete(request, response);
  });
  EXPECT_TRUE(Send(server, 1).ok());
  EXPECT_EQ(key, "the-key");
}

TEST(ClientTest, AnswerLargerThanGrpcsDefaultLimitIsReceived) {
  FakeServer server(
      [](auto*, const auto& request, auto* response) { return Complete(request, response); },
      [](const auto&, auto* response) {
        (*response->add_result()->mutable_payload())["large"].set_string_value(
            std::string(8 << 20, 'x'));
        return grpc::Status::OK;
      });
  Client client(server.options());
  auto response = client.GetPoints({}, Soon());
  ASSERT_TRUE(response.ok()) << Describe(response.error());
  EXPECT_EQ(response->result(0).payload().at("large").string_value().size(), size_t{8 << 20});
}

TEST(ClientTest, ErrorWhileEncodingEndsTheSendingAndIsReturned) {
  FakeServer server(
      [](auto*, const auto& request, auto* response) { return Complete(request, response); });
  Client client(server.options());
  int asked = 0;
  const Status sent = client.UpdateAll(
      [&asked]() -> Result<std::optional<UpdateRequest>> {
        if (asked++ == 0) {
          ::qdrant::UpdateBatchPoints request;
          request.add_operations();
          return std::optional(Encoded(request));
        }
        StoreError error;
        error.kind = ErrorKind::kPermanent;
        error.native_code = kUnencodable;
        return error;
      },
      Soon());
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().native_code, kUnencodable);
  EXPECT_EQ(asked, 2);
}

}  // namespace
}  // namespace apex::qdrant
