// A process-local cache that follows the sidecar's stream of events, so that it is right a moment
// after every change.
//
//   LocalCache local("127.0.0.1", 6379, "cache_events");
//   auto text = local.Get(id, [&] { return cache.Get("doc:" + id, ...); });
#pragma once

#include <hiredis.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace apex_cache {

/// Thread-safe. Holds what `load` gave until an event names its id.
class LocalCache {
 public:
  using Load = std::function<std::optional<std::string>()>;

  LocalCache(std::string host, int port, std::string stream)
      : host_(std::move(host)), port_(port), stream_(std::move(stream)) {
    thread_ = std::thread([this] { Follow(); });
  }
  ~LocalCache() {
    closed_ = true;
    thread_.join();
  }
  LocalCache(const LocalCache&) = delete;
  LocalCache& operator=(const LocalCache&) = delete;

  std::optional<std::string> Get(const std::string& id, const Load& load) {
    uint64_t changes = 0;
    {
      const std::lock_guard lock(mutex_);
      const auto held = held_.find(id);
      if (held != held_.end()) return held->second;
      changes = changes_;
    }
    std::optional<std::string> value = load();
    const std::lock_guard lock(mutex_);
    // What was loaded before a change is not kept. Any change counts, which costs a load at times
    // and needs no list of those under way. Nothing is kept while no events are heard.
    if (following_ && changes == changes_) held_[id] = value;
    return value;
  }

 private:
  struct Close {
    void operator()(redisContext* context) const { redisFree(context); }
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
  };
  using Reply = std::unique_ptr<redisReply, Close>;

  /// One id, or with an empty one everything.
  void Forget(const std::string& id, bool following) {
    const std::lock_guard lock(mutex_);
    ++changes_;
    following_ = following;
    if (id.empty()) {
      held_.clear();
    } else {
      held_.erase(id);
    }
  }

  /// The event is `{"document_id":"...","event":...}`: what stands there, as long as it is a plain
  /// text. Anything else names everything.
  static std::string IdIn(const std::string& event) {
    const std::string start = R"({"document_id":")";
    const size_t end = event.find('"', start.size());
    const bool plain =
        event.rfind(start, 0) == 0 && end != std::string::npos && event.find('\\') > end;
    return plain ? event.substr(start.size(), end - start.size()) : std::string();
  }

  // Each connection begins at the stream's end with nothing held, so that what was missed while
  // there was none does not matter.
  void Follow() {
    while (!closed_) {
      const timeval patience{1, 0};
      const std::unique_ptr<redisContext, Close> redis(
          redisConnectWithTimeout(host_.c_str(), port_, patience));
      if (redis && redis->err == 0) Listen(*redis);
      Forget("", false);
      if (!closed_) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }

  void Listen(redisContext& redis) {
    std::string place = "0-0";
    const Reply last(static_cast<redisReply*>(
        redisCommand(&redis, "XREVRANGE %s + - COUNT 1", stream_.c_str())));
    if (!last || last->type != REDIS_REPLY_ARRAY) return;
    if (last->elements > 0) place = last->element[0]->element[0]->str;
    Forget("", true);
    while (!closed_) {
      const Reply read(static_cast<redisReply*>(redisCommand(
          &redis, "XREAD COUNT 1000 BLOCK 200 STREAMS %s %s", stream_.c_str(), place.c_str())));
      if (!read || read->type == REDIS_REPLY_ERROR) return;
      if (read->type != REDIS_REPLY_ARRAY || read->elements == 0) continue;
      const redisReply& entries = *read->element[0]->element[1];
      for (size_t i = 0; i < entries.elements; ++i) {
        const redisReply& entry = *entries.element[i];
        place = entry.element[0]->str;
        const redisReply& event = *entry.element[1]->element[1];
        Forget(IdIn(std::string(event.str, event.len)), true);
      }
    }
  }

  const std::string host_;
  const int port_;
  const std::string stream_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::optional<std::string>> held_;
  uint64_t changes_ = 0;
  bool following_ = false;
  std::atomic<bool> closed_{false};
  std::thread thread_;
};

}  // namespace apex_cache
