// Query results that are registered under tags, and vanish with them.
//
// A tag is a sorted set of the keys under it, each with the time at which it expires. What a query
// depends on is known only once it has run, so a reader's lease cannot be taken away by name as
// that of an entry can: it holds the time of a clock instead, and the journal knows for each tag
// when it was last invalidated. A fill is refused when one of its tags was, since the lease was
// taken. Whatever Redis has let go of, lease, journal or both, refuses the fill, too.
//
// The scripts touch keys that they learn of from the tag: with Redis Cluster all of it has to lie
// in one slot, which a key prefix with a hash tag sees to. Pure and thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace apex::redis {

inline std::string TagKey(std::string_view prefix, std::string_view tag) {
  return std::string(prefix) + "_apex:tag:" + std::string(tag);
}
inline std::string JournalKey(std::string_view prefix) {
  return std::string(prefix) + "_apex:journal";
}

/// Reads a key, and where it is missing takes its lease: KEYS[1] = key, KEYS[2] = its lease,
/// KEYS[3] = the journal, ARGV[1] = a token nobody else has, ARGV[2] = milliseconds the lease
/// holds. Answers
/// {"value", the value} or {"lease", what to fill with}. The journal's clock follows the server's
/// and never goes back; its name, drawn when it is made, tells it from one that was evicted.
inline constexpr const char* kGetOrTagLeaseLua = R"(
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

/// Fills a key and registers it under its tags: KEYS[1..3] as above, further KEYS = the tags' sets,
/// ARGV[1] = the lease, ARGV[2] = value, ARGV[3] = milliseconds to live, further ARGV = the tags.
/// Answers 0 where the lease is gone or one of the tags was invalidated since it was taken.
inline constexpr const char* kFillTaggedLua = R"(
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

/// Deletes what is registered under a tag, up to a number: KEYS[1] = the tag's set, KEYS[2] = the
/// journal, ARGV[1] = the tag, ARGV[2] = the number. Answers how many it was. Without a journal no
/// lease is out that it could matter to.
inline constexpr const char* kInvalidateTagLua = R"(
if redis.call('EXISTS', KEYS[2]) == 1 then
  local time = redis.call('TIME')
  local clock = math.max(time[1] * 1000000 + time[2],
                         tonumber(redis.call('ZSCORE', KEYS[2], 'clock') or 0) + 1)
  local now = string.format('%.0f', clock)
  local noted = redis.pcall('ZADD', KEYS[2], now, 'clock', now, 'tag ' .. ARGV[1])
  if type(noted) == 'table' then return noted end
end
local popped = redis.pcall('ZPOPMIN', KEYS[1], ARGV[2])
if popped.err then return popped end
local keys = {}
for i = 1, #popped, 2 do keys[#keys + 1] = popped[i] end
if #keys > 0 then redis.call('UNLINK', unpack(keys)) end
return #keys
)";

}  // namespace apex::redis
