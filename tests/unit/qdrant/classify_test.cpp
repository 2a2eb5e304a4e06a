#include "stores/qdrant/classify.h"

#include <gtest/gtest.h>

namespace apex::qdrant {
namespace {

using grpc::StatusCode;

struct Case {
  StatusCode code;
  const char* words;
  ErrorKind kind;
};

class ClassifyTest : public testing::TestWithParam<Case> {};

TEST_P(ClassifyTest, MapsCodeAndWordsToKind) {
  const Case& c = GetParam();
  EXPECT_EQ(Name(Classify(grpc::Status(c.code, c.words))), Name(c.kind)) << c.words;
}

INSTANTIATE_TEST_SUITE_P(
    Statuses, ClassifyTest,
    testing::Values(
        Case{StatusCode::CANCELLED, "", ErrorKind::kUnknownOutcome},
        Case{StatusCode::UNKNOWN, "Stream removed", ErrorKind::kUnknownOutcome},
        Case{StatusCode::INVALID_ARGUMENT,
             "Wrong input: Vector dimension error: expected dim: 4, got 3", ErrorKind::kPermanent},
        Case{StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded", ErrorKind::kUnknownOutcome},
        Case{StatusCode::NOT_FOUND, "Not found: Collection `x` doesn't exist!",
             ErrorKind::kTransient},
        Case{StatusCode::ALREADY_EXISTS, "Collection `x` already exists!", ErrorKind::kPermanent},
        Case{StatusCode::PERMISSION_DENIED, "Global access is required", ErrorKind::kTransient},
        Case{StatusCode::RESOURCE_EXHAUSTED, "Rate limiting exceeded", ErrorKind::kTransient},
        Case{StatusCode::RESOURCE_EXHAUSTED, "Rate limiting exceeded: Write rate limit exceeded",
             ErrorKind::kTransient},
        Case{StatusCode::RESOURCE_EXHAUSTED,
             "Rate limiting exceeded: Write rate limit exceeded, request larger than rate limiter "
             "capacity, please try to split your request",
             ErrorKind::kPermanent},
        Case{StatusCode::RESOURCE_EXHAUSTED,
             "Received message larger than max (5242881 vs. 4194304)", ErrorKind::kPermanent},
        Case{StatusCode::FAILED_PRECONDITION, "shard is recovering", ErrorKind::kTransient},
        Case{StatusCode::FAILED_PRECONDITION, "Write operations are forbidden: disk is full",
             ErrorKind::kTransient},
        Case{StatusCode::ABORTED, "", ErrorKind::kTransient},
        Case{StatusCode::OUT_OF_RANGE, "decoded message length too large", ErrorKind::kPermanent},
        Case{StatusCode::UNIMPLEMENTED, "", ErrorKind::kPermanent},
        Case{StatusCode::INTERNAL, "Service internal error: No space left on device",
             ErrorKind::kTransient},
        Case{StatusCode::INTERNAL, "Wrong input: bad vector", ErrorKind::kPermanent},
        Case{StatusCode::INTERNAL, "failed to decode Protobuf message: recursion limit reached",
             ErrorKind::kPermanent},
        Case{StatusCode::UNAVAILABLE,
             "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:6334: "
             "Failed to connect to remote host: Connection refused",
             ErrorKind::kTransient},
        Case{StatusCode::UNAVAILABLE,
             "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:6334",
             ErrorKind::kTransient},
        Case{StatusCode::UNAVAILABLE, "DNS resolution failed for qdrant.example:6334",
             ErrorKind::kTransient},
        Case{StatusCode::UNAVAILABLE, "empty address list: ", ErrorKind::kTransient},
        Case{StatusCode::UNAVAILABLE, "Endpoint read failed", ErrorKind::kUnknownOutcome},
        Case{StatusCode::UNAVAILABLE, "recvmsg:Connection timed out", ErrorKind::kUnknownOutcome},
        Case{StatusCode::UNAVAILABLE, "keepalive watchdog timeout", ErrorKind::kUnknownOutcome},
        Case{StatusCode::UNAVAILABLE, "Received http2 header with status: 503",
             ErrorKind::kUnknownOutcome},
        Case{StatusCode::UNAVAILABLE, "Socket closed", ErrorKind::kUnknownOutcome},
        Case{StatusCode::UNAVAILABLE, "recvmsg:Connection reset by peer",
             ErrorKind::kUnknownOutcome},
        Case{StatusCode::DATA_LOSS, "", ErrorKind::kTransient},
        Case{StatusCode::UNAUTHENTICATED, "Invalid API key or JWT", ErrorKind::kTransient}));

TEST(StatusNameTest, SpellsCodesAsGrpcDoes) {
  EXPECT_EQ(StatusName(StatusCode::OK), "OK");
  EXPECT_EQ(StatusName(StatusCode::INVALID_ARGUMENT), "INVALID_ARGUMENT");
  EXPECT_EQ(StatusName(StatusCode::UNAUTHENTICATED), "UNAUTHENTICATED");
  EXPECT_EQ(StatusName(static_cast<StatusCode>(99)), "UNKNOWN");
}

TEST(RetryAfterTest, TakesSecondsAndNothingElse) {
  using std::chrono::milliseconds;
  EXPECT_EQ(ParseRetryAfter("2"), milliseconds(2000));
  EXPECT_EQ(ParseRetryAfter("0.25"), milliseconds(250));
  EXPECT_EQ(ParseRetryAfter("999999999"), milliseconds(3600000));
  for (const char* text : {"", "-1", "soon", "1s", "nan"})
    EXPECT_EQ(ParseRetryAfter(text), std::nullopt) << text;
}

}  // namespace
}  // namespace apex::qdrant
