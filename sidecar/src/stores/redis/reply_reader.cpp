#include "stores/redis/reply_reader.h"

#include <fmt/format.h>
#include <hiredis.h>

#include <algorithm>
#include <new>
#include <utility>

namespace apex::redis {
namespace {

/// What a server only says to come is not given memory before it has come.
constexpr size_t kElementsReservedMax = 4096;

}  // namespace

/// What hiredis calls for each thing it has read. It calls from C, which no exception may cross:
/// nullptr tells it that there is no memory.
struct ReplyReader::Functions {
  template <typename Fill>
  static void* Make(const redisReadTask* task, Fill fill) {
    try {
      Reply* const reply = task->parent == nullptr
                               ? &static_cast<Making*>(task->privdata)->reply
                               : &static_cast<Reply*>(task->parent->obj)->elements.emplace_back();
      fill(*reply);
      return reply;
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  static void* Text(const redisReadTask* task, char* text, size_t size) {
#if HIREDIS_MAJOR >= 1
    // Verbatim text begins with what it is, as "txt:".
    constexpr size_t kFormat = 4;
    if (task->type == REDIS_REPLY_VERB && size >= kFormat) return Text(task, text, size, kFormat);
#endif
    return Text(task, text, size, 0);
  }
  static void* Text(const redisReadTask* task, const char* text, size_t size, size_t from) {
    return Make(task, [&](Reply& reply) {
      reply.type = task->type == REDIS_REPLY_ERROR ? Reply::Type::kError : Reply::Type::kText;
      reply.text.assign(text + from, size - from);
    });
  }
  static void* Integer(const redisReadTask* task, long long number) {
    return Make(task, [&](Reply& reply) {
      reply.type = Reply::Type::kInteger;
      reply.integer = number;
    });
  }
  static void* Nil(const redisReadTask* task) {
    return Make(task, [](Reply&) {});
  }
  static void* Array(const redisReadTask* task, size_t elements) {
#if HIREDIS_MAJOR >= 1
    if (task->type == REDIS_REPLY_PUSH && task->parent == nullptr)
      static_cast<Making*>(task->privdata)->unasked = true;
#endif
    return Make(task, [&](Reply& reply) {
      reply.type = Reply::Type::kArray;
      reply.elements.reserve(std::min(elements, kElementsReservedMax));
    });
  }

  static redisReplyObjectFunctions Table() {
    redisReplyObjectFunctions table{};
    table.createString = [](const redisReadTask* task, char* text, size_t size) {
      return Text(task, text, size);
    };
    // The number is an int before hiredis 1.0.
    table.createArray = [](const redisReadTask* task, auto elements) {
      return Array(task, static_cast<size_t>(elements));
    };
    table.createInteger = Integer;
    table.createNil = Nil;
#if HIREDIS_MAJOR >= 1
    table.createBool = [](const redisReadTask* task, int value) { return Integer(task, value); };
    table.createDouble = [](const redisReadTask* task, double, char* text, size_t size) {
      return Text(task, text, size);
    };
#endif
    // Everything belongs to the reply that is being made.
    table.freeObject = [](void*) {};
    return table;
  }
};

bool UnderstandsResp3() { return HIREDIS_MAJOR >= 1; }

std::string ReaderVersion() {
  return fmt::format("hiredis {}.{}.{}", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
}

ReplyReader::ReplyReader() : making_(std::make_unique<Making>()) {
  static redisReplyObjectFunctions functions = Functions::Table();
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  reader_->privdata = making_.get();
}

void ReplyReader::Free::operator()(redisReader* reader) const { redisReaderFree(reader); }

ReplyReader::State ReplyReader::Next(Reply& reply) {
  if (!incoming_.empty()) {
    if (redisReaderFeed(reader_.get(), incoming_.data(), incoming_.size()) != REDIS_OK)
      return State::kBroken;
    incoming_.clear();
  }
  for (;;) {
    void* whole = nullptr;
    if (redisReaderGetReply(reader_.get(), &whole) != REDIS_OK) return State::kBroken;
    if (whole == nullptr) return State::kNeedsMore;
    const bool unasked = std::exchange(making_->unasked, false);
    reply = std::exchange(making_->reply, {});
    if (!unasked) return State::kReply;
  }
}

}  // namespace apex::redis
