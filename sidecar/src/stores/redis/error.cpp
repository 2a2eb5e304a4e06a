#include "stores/redis/error.h"

#include <algorithm>
#include <array>
#include <span>

namespace apex::redis {
namespace {

/// NOAUTH, WRONGPASS and NOPERM are here because no row is at fault: an operator mends them, and
/// rows must not be parked until then. MOVED and its kin say that this is a cluster's node, which
/// is a set-up mistake of the same kind.
constexpr std::array<std::string_view, 19> kServerConditions{
    "LOADING",    "BUSY",    "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN",  "READONLY", "OOM",
    "NOREPLICAS", "MISCONF", "NOAUTH",   "WRONGPASS",   "NOPERM",      "DENIED",   "NOSCRIPT",
    "UNKILLABLE", "MOVED",   "ASK",      "CROSSSLOT",   "NOMASTERLINK"};

constexpr std::array<std::string_view, 3> kOtherServerMayAnswer{"READONLY", "NOAUTH", "NOSCRIPT"};

/// Errors of the generic code that concern the server all the same.
constexpr std::array<std::string_view, 2> kGenericServerConditions{"ERR max number of clients",
                                                                   "ERR server is"};

/// Redis 6 wraps the error that a script ends with: "ERR Error running script (call to f_6b1b):
/// @user_script:1: @user_script: 1: -OOM command not allowed ...". What the server said is behind
/// the last place in the script. From 7 on it comes as it is.
std::string_view WithoutScript(std::string_view reply) {
  constexpr std::string_view kPlace = "@user_script:";
  if (!reply.starts_with("ERR Error running script")) return reply;
  const size_t place = reply.rfind(kPlace);
  if (place == std::string_view::npos) return reply;
  const std::string_view line = reply.substr(place + kPlace.size());
  const size_t words = line.find(": ");
  if (words == std::string_view::npos) return reply;
  const std::string_view said = line.substr(words + 2);
  return said.starts_with('-') ? said.substr(1) : said;
}

bool StartsWithOneOf(std::span<const std::string_view> words, std::string_view reply) {
  return std::ranges::find(words, ErrorPrefix(reply)) != words.end();
}

}  // namespace

std::string_view ErrorPrefix(std::string_view reply) { return reply.substr(0, reply.find(' ')); }

ErrorKind Classify(std::string_view reply) {
  reply = WithoutScript(reply);
  if (StartsWithOneOf(kServerConditions, reply)) return ErrorKind::kTransient;
  const auto starts_reply = [reply](std::string_view start) { return reply.starts_with(start); };
  if (std::ranges::any_of(kGenericServerConditions, starts_reply)) return ErrorKind::kTransient;
  return ErrorKind::kPermanent;
}

bool NeedsNewConnection(std::string_view reply) {
  return StartsWithOneOf(kOtherServerMayAnswer, WithoutScript(reply));
}

StoreError ReplyError(std::string_view operation, std::string_view reply) {
  reply = WithoutScript(reply);
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
