// What a Redis server may send: replies of any shape, cut anywhere, as an answer to any question.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "stores/redis/cache_entries.h"
#include "stores/redis/claim.h"
#include "stores/redis/error.h"
#include "stores/redis/reply_reader.h"
#include "stores/redis/slots.h"

namespace {

const apex::net::Address kAsked{.host = "10.0.0.9", .port = 6379};

/// hiredis takes room for as many elements as a server announces, which is the server's to answer
/// for.
bool AnnouncesMany(std::string_view bytes) {
  constexpr size_t kDigitsMax = 5;
  size_t digits = 0;
  return std::ranges::any_of(bytes, [&digits](unsigned char c) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    return digits > kDigitsMax;
  });
}

void Answered(const apex::redis::Reply& reply) {
  if (const auto map = apex::redis::SlotMap::Parse(reply, kAsked)) {
    auto moved = *map;
    moved.Move(0, kAsked);
    if (moved.PrimaryOf(0) == nullptr || moved.Primaries().empty()) __builtin_trap();
  }
  if (reply.type == apex::redis::Reply::Type::kError) {
    apex::redis::ParseRedirection(reply.text, kAsked);
    apex::redis::NeedsNewConnection(reply.text);
    (void)apex::redis::ReplyError("write", reply.text);
    return;
  }
  apex::redis::OlderClaims(reply.text, {.pipeline = "p", .epoch = 7, .database = "1/d"}, 7);
  apex::redis::ParseLife(reply.text);
  apex::redis::ParseStatistics(reply.text, 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (AnnouncesMany(bytes)) return 0;
  // The first byte says how much comes at once.
  const size_t piece = data[0] + 1U;
  using State = apex::redis::ReplyReader::State;
  apex::redis::ReplyReader reader;
  State state = State::kNeedsMore;
  for (size_t at = 0; at < bytes.size() && state != State::kBroken; at += piece) {
    reader.incoming().append(bytes.substr(at, piece));
    apex::redis::Reply reply;
    while ((state = reader.Next(reply)) == State::kReply) Answered(reply);
  }
  return 0;
}
