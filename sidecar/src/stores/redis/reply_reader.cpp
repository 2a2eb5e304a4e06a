#include "stores/redis/reply_reader.h"

#include <fmt/format.h>
#include <hiredis.h>

namespace apex::redis {
namespace {

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};

void Convert(const redisReply& raw, Reply& reply) {
  switch (raw.type) {
    case REDIS_REPLY_INTEGER:
#if HIREDIS_MAJOR >= 1
    case REDIS_REPLY_BOOL:
#endif
      reply.type = Reply::Type::kInteger;
      reply.integer = raw.integer;
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
#if HIREDIS_MAJOR >= 1
    case REDIS_REPLY_DOUBLE:
    case REDIS_REPLY_BIGNUM:
    case REDIS_REPLY_VERB:
#endif
      reply.type = Reply::Type::kText;
      reply.text.assign(raw.str, raw.len);
      break;
    case REDIS_REPLY_ERROR:
      reply.type = Reply::Type::kError;
      reply.text.assign(raw.str, raw.len);
      break;
    case REDIS_REPLY_ARRAY:
#if HIREDIS_MAJOR >= 1
    case REDIS_REPLY_MAP:
    case REDIS_REPLY_SET:
#endif
      reply.type = Reply::Type::kArray;
      reply.elements.resize(raw.elements);
      for (size_t i = 0; i < raw.elements; ++i) Convert(*raw.element[i], reply.elements[i]);
      break;
    default: break;
  }
}

bool IsPush([[maybe_unused]] const redisReply& raw) {
#if HIREDIS_MAJOR >= 1
  return raw.type == REDIS_REPLY_PUSH;
#else
  return false;
#endif
}

}  // namespace

bool UnderstandsResp3() { return HIREDIS_MAJOR >= 1; }

std::string ReaderVersion() {
  return fmt::format("hiredis {}.{}.{}", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
}

ReplyReader::ReplyReader() : reader_(redisReaderCreate()) {}

void ReplyReader::Free::operator()(redisReader* reader) const { redisReaderFree(reader); }

ReplyReader::State ReplyReader::Next(Reply& reply) {
  if (!incoming_.empty()) {
    if (redisReaderFeed(reader_.get(), incoming_.data(), incoming_.size()) != REDIS_OK)
      return State::kBroken;
    incoming_.clear();
  }
  for (;;) {
    void* raw = nullptr;
    if (redisReaderGetReply(reader_.get(), &raw) != REDIS_OK) return State::kBroken;
    if (raw == nullptr) return State::kNeedsMore;
    const std::unique_ptr<redisReply, FreeReply> owned(static_cast<redisReply*>(raw));
    if (IsPush(*owned)) continue;
    reply = {};
    Convert(*owned, reply);
    return State::kReply;
  }
}

}  // namespace apex::redis
