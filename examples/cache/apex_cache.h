// Reading through a cache that Apex Saga invalidates, without ever leaving a stale entry: two calls
// of Redis for a miss, one for a hit.
//
//   Cache cache(redis);  // a redisContext*, used by one thread
//   std::optional<std::string> text =
//       cache.Get("doc:" + id, [&] { return ReadFromPostgres(id); }, std::chrono::hours(1));
#pragma once

#include <hiredis.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace apex_cache {

// Longer than `load` takes: whoever is slower than this fills nothing.
inline constexpr const char* kLeaseMs = "10000";
// How long it is remembered that there is no such row.
inline constexpr const char* kNoneMs = "2000";

inline constexpr const char* kGetOrLease = R"(
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then return value end
if value then return {'value', value} end
local held = redis.pcall('GET', KEYS[2])
if type(held) == 'table' then return held end
if held == 'none' then return {'none', ''} end
if held then return {'lease', held} end
local set = redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if set.err then return set end
return {'lease', ARGV[1]}
)";

inline constexpr const char* kFill = R"(
local token = redis.pcall('GET', KEYS[2])
if type(token) == 'table' then return token end
if token ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  local none = redis.pcall('SET', KEYS[2], 'none', 'PX', ARGV[3])
  if none.err then return none end
  return 1
end
redis.call('UNLINK', KEYS[2])
local head = redis.pcall('GETRANGE', KEYS[1], 0, 40)
if type(head) == 'table' then return head end
local held = string.match(head, '^{"_apex_seq":(%d+)')
local seq = string.match(ARGV[2], '^{"_apex_seq":(%d+)') or '0'
if held and (#held > #seq or (#held == #seq and held > seq)) then return 0 end
local set
if ARGV[3] == '' then
  set = redis.pcall('SET', KEYS[1], ARGV[2])
else
  set = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
if set.err then return set end
return 1
)";

inline constexpr const char* kGetOrTagLease = R"(
local value = redis.call('GET', KEYS[1])
if value then return {'value', value} end
local held = redis.call('GET', KEYS[2])
if held then return {'lease', held} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local clock = math.max(now, tonumber(redis.call('ZSCORE', KEYS[3], 'clock') or 0) + 1)
local name = redis.call('ZREVRANGE', KEYS[3], 0, 0)[1]
if not name then
  name = 'journal ' .. ARGV[1]
  redis.call('ZADD', KEYS[3], '+inf', name)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now - 1000 * ARGV[2]))
redis.call('ZADD', KEYS[3], string.format('%.0f', clock), 'clock')
redis.call('PEXPIRE', KEYS[3], 2 * ARGV[2])
local lease = string.format('%s %.0f %s', ARGV[1], clock, name)
redis.call('SET', KEYS[2], lease, 'PX', ARGV[2])
return {'lease', lease}
)";

inline constexpr const char* kFillTagged = R"(
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
local clock, name = string.match(ARGV[1], '^%S+ (%d+) (.*)$')
if redis.call('ZREVRANGE', KEYS[3], 0, 0)[1] ~= name then return 0 end
for i = 4, #ARGV do
  local invalidated = redis.call('ZSCORE', KEYS[3], 'tag ' .. ARGV[i])
  if invalidated and tonumber(invalidated) >= tonumber(clock) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - 1)
  redis.call('ZADD', KEYS[i], now + ARGV[3], KEYS[1])
  redis.call('PEXPIRE', KEYS[i], math.max(redis.call('PTTL', KEYS[i]), tonumber(ARGV[3])))
end
return 1
)";

/// The lease of a key: in the key's own slot of a Redis Cluster.
inline std::string LeaseKey(const std::string& key) {
  const size_t open = key.find('{');
  const size_t close = open == std::string::npos ? open : key.find('}', open + 1);
  const bool has_tag = close != std::string::npos && close > open + 1;
  return has_tag ? key + "#lease" : "{" + key + "}#lease";
}

class Cache {
 public:
  using Load = std::function<std::optional<std::string>()>;

  /// A query's result, and the tags it belongs under.
  using LoadTagged = std::function<std::pair<std::string, std::vector<std::string>>()>;

  /// Does not own the connection. `prefix` is the sidecar's redis.key_prefix.
  explicit Cache(redisContext* redis, std::string prefix = "")
      : redis_(redis), prefix_(std::move(prefix)) {}

  /// The value of `key`, or what `load` reads from PostgreSQL's primary; nullopt: there is none.
  std::optional<std::string> Get(const std::string& key, const Load& load,
                                 std::optional<std::chrono::milliseconds> to_live = {}) {
    const std::string lease = LeaseKey(key);
    const Reply looked = Run({"EVAL", kGetOrLease, "2", key, lease, NewToken(), kLeaseMs});
    if (looked->type != REDIS_REPLY_ARRAY || looked->elements != 2)
      throw std::runtime_error("Redis gave an answer of another form");
    const std::string kind = Text(*looked->element[0]);
    std::string text = Text(*looked->element[1]);
    if (kind == "value") return text;
    if (kind == "none") return std::nullopt;
    std::optional<std::string> value = load();
    const std::string lives = !value    ? kNoneMs
                              : to_live ? std::to_string(to_live->count())
                                        : std::string();
    Run({"EVAL", kFill, "2", key, lease, text, value.value_or(""), lives});
    return value;
  }

  /// The result of a query; it vanishes with the first of its tags.
  std::string GetTagged(const std::string& key, const LoadTagged& load,
                        std::chrono::milliseconds to_live) {
    const std::string lease = LeaseKey(key);
    const std::string journal = prefix_ + "_apex:journal";
    const Reply looked =
        Run({"EVAL", kGetOrTagLease, "3", key, lease, journal, NewToken(), kLeaseMs});
    if (looked->type != REDIS_REPLY_ARRAY || looked->elements != 2)
      throw std::runtime_error("Redis gave an answer of another form");
    const std::string text = Text(*looked->element[1]);
    if (Text(*looked->element[0]) == "value") return text;
    auto [value, tags] = load();
    std::vector<std::string> fill{"EVAL", kFillTagged, std::to_string(3 + tags.size()),
                                  key,    lease,       journal};
    for (const std::string& tag : tags) fill.push_back(prefix_ + "_apex:tag:" + tag);
    fill.insert(fill.end(), {text, value, std::to_string(to_live.count())});
    fill.insert(fill.end(), tags.begin(), tags.end());
    Run(std::vector<std::string_view>(fill.begin(), fill.end()));
    return value;
  }

 private:
  struct Free {
    void operator()(redisReply* reply) const { freeReplyObject(reply); }
  };
  using Reply = std::unique_ptr<redisReply, Free>;

  static std::string Text(const redisReply& reply) { return {reply.str, reply.len}; }

  static std::string NewToken() {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::random_device random;
    std::string token;
    for (int i = 0; i < 32; ++i) token += kDigits[random() % kDigits.size()];
    return token;
  }

  Reply Run(const std::vector<std::string_view>& command) {
    std::vector<const char*> parts;
    std::vector<size_t> lengths;
    for (const std::string_view part : command) {
      parts.push_back(part.data());
      lengths.push_back(part.size());
    }
    Reply reply(static_cast<redisReply*>(
        redisCommandArgv(redis_, static_cast<int>(parts.size()), parts.data(), lengths.data())));
    if (!reply) throw std::runtime_error(redis_->errstr);
    if (reply->type == REDIS_REPLY_ERROR) throw std::runtime_error(Text(*reply));
    return reply;
  }

  redisContext* redis_;
  std::string prefix_;
};

}  // namespace apex_cache
