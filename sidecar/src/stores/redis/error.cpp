#include "stores/redis/error.h"

#include <algorithm>
#include <array>

namespace apex::redis {
namespace {

/// NOAUTH, WRONGPASS and NOPERM are here because no row is at fault: an operator mends them, and
/// rows must not be parked until then. MOVED and its kin say that this is a cluster's node, which
/// is a set-up mistake of the same kind.
constexpr std::array<std::string_view, 18> kServerConditions{
    "LOADING",  "BUSY",       "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY",
    "OOM",      "NOREPLICAS", "MISCONF",  "NOAUTH",      "WRONGPASS",  "NOPERM",
    "NOSCRIPT", "UNKILLABLE", "MOVED",    "ASK",         "CROSSSLOT",  "NOMASTERLINK"};

constexpr std::array<std::string_view, 3> kOtherServerMayAnswer{"READONLY", "NOAUTH", "NOSCRIPT"};

/// Errors of the generic code that concern the server all the same.
constexpr std::array<std::string_view, 2> kGenericServerConditions{"ERR max number of clients",
                                                                   "ERR server is"};

}  // namespace

std::string_view ErrorPrefix(std::string_view reply) { return reply.substr(0, reply.find(' ')); }

ErrorKind Classify(std::string_view reply) {
  if (std::ranges::find(kServerConditions, ErrorPrefix(reply)) != kServerConditions.end())
    return ErrorKind::kTransient;
  const auto starts_reply = [reply](std::string_view start) { return reply.starts_with(start); };
  if (std::ranges::any_of(kGenericServerConditions, starts_reply)) return ErrorKind::kTransient;
  return ErrorKind::kPermanent;
}

bool NeedsNewConnection(std::string_view reply) {
  return std::ranges::find(kOtherServerMayAnswer, ErrorPrefix(reply)) !=
         kOtherServerMayAnswer.end();
}

StoreError ReplyError(std::string_view operation, std::string_view reply) {
  const std::string_view prefix = ErrorPrefix(reply);
  const std::string_view words = reply.substr(std::min(prefix.size() + 1, reply.size()));
  return {.store = Store::kRedis,
          .operation = std::string(operation),
          .kind = Classify(reply),
          .native_code = std::string(prefix),
          .message = std::string(words),
          .retry_after = {}};
}

StoreError ClientError(std::string_view operation, ErrorKind kind, std::string_view code,
                       std::string message) {
  return {.store = Store::kRedis,
          .operation = std::string(operation),
          .kind = kind,
          .native_code = std::string(code),
          .message = std::move(message),
          .retry_after = {}};
}

}  // namespace apex::redis
