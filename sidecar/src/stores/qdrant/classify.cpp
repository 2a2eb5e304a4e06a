#include "stores/qdrant/classify.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace apex::qdrant {
namespace {

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// gRPC says UNAVAILABLE both when it could not connect, so nothing was sent, and when a connection
/// broke under a request, which may then have been applied; a proxy and a shard that is away say
/// it, too. The words for the one are few, those for the other are whatever the system calls it.
bool NeverSent(std::string_view words) {
  static constexpr std::array kNotConnected = {"failed to connect to all addresses",
                                               "connections to all backends failing",
                                               "DNS resolution failed", "empty address list"};
  return std::ranges::any_of(kNotConnected, [words](std::string_view not_connected) {
    return Contains(words, not_connected);
  });
}

/// Qdrant reports some refusals of a request as INTERNAL; these would be refused again.
bool InternalRefusal(std::string_view words) {
  return Contains(words, "Wrong input") || Contains(words, "decode Protobuf message");
}

/// RESOURCE_EXHAUSTED is said of a message that is too large, too, and of more points than a write
/// limit ever lets through at once. Waiting does not mend that; fewer rows at a time do.
bool TooLarge(std::string_view words) {
  return Contains(words, "larger than max") || Contains(words, "split your request");
}

}  // namespace

ErrorKind Classify(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::UNIMPLEMENTED: return ErrorKind::kPermanent;
    case grpc::StatusCode::INTERNAL:
      return InternalRefusal(status.error_message()) ? ErrorKind::kPermanent
                                                     : ErrorKind::kTransient;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return TooLarge(status.error_message()) ? ErrorKind::kPermanent : ErrorKind::kTransient;
    case grpc::StatusCode::UNAVAILABLE:
      return NeverSent(status.error_message()) ? ErrorKind::kTransient : ErrorKind::kUnknownOutcome;
    // The store's condition or set-up, not the row's: a collection that is gone, a key that was
    // changed, a limit, a shard that recovers. The row is held, never parked for it.
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::DATA_LOSS: return ErrorKind::kTransient;
    default:  // CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, and codes yet to be invented.
      return ErrorKind::kUnknownOutcome;
  }
}

std::string_view StatusName(grpc::StatusCode code) {
  static constexpr std::array<std::string_view, 17> kNames = {"OK",
                                                              "CANCELLED",
                                                              "UNKNOWN",
                                                              "INVALID_ARGUMENT",
                                                              "DEADLINE_EXCEEDED",
                                                              "NOT_FOUND",
                                                              "ALREADY_EXISTS",
                                                              "PERMISSION_DENIED",
                                                              "RESOURCE_EXHAUSTED",
                                                              "FAILED_PRECONDITION",
                                                              "ABORTED",
                                                              "OUT_OF_RANGE",
                                                              "UNIMPLEMENTED",
                                                              "INTERNAL",
                                                              "UNAVAILABLE",
                                                              "DATA_LOSS",
                                                              "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

std::optional<std::chrono::milliseconds> ParseRetryAfter(std::string_view value) {
  const std::string text(value);
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  constexpr double kSecondsMax = 3600;
  if (end == text.c_str() || *end != '\0' || !(seconds >= 0)) return std::nullopt;
  return std::chrono::milliseconds(std::llround(std::ceil(std::min(seconds, kSecondsMax) * 1000)));
}

}  // namespace apex::qdrant
