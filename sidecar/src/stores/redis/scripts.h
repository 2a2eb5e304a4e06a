// The Lua that compares versions inside Redis, so that no older value lands over a newer one
// whoever sends it.
//
// A value begins with {"_apex_seq":N. Versions are compared as decimal text, by length and then by
// digits: Lua's numbers are doubles and would confuse neighbours beyond 2^53. Something else than a
// version under the key is another's value and counts as older. pcall hands Redis's own error on,
// where call would wrap it in words of its own before Redis 7.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace apex::redis {

enum Script : size_t {
  kSetIfNewer,
  kUnlinkIfNotNewer,
  kUnlinkIfHolds,
  kUnlinkIfText,
  kInvalidateTag
};

/// A script that answers `full`, Lua, instead of adding a key where there are `keys_max`; 0: no
/// limit. Redis counts, and nobody comes in between, so that the limit holds exactly.
inline std::string WithKeysMax(int64_t keys_max, const std::string& full,
                               const std::string& script) {
  if (keys_max == 0) return script;
  return "\nif redis.call('DBSIZE') >= " + std::to_string(keys_max) +
         " and redis.call('EXISTS', unpack(KEYS)) == 0 then return " + full + " end" + script;
}

/// KEYS[1], ARGV[1] = seq, ARGV[2] = value, ARGV[3] = seconds to live or ''.
inline constexpr const char* kSetIfNewerLua = R"(
local head = redis.pcall('GETRANGE', KEYS[1], 0, 40)
if type(head) == 'table' then return head end
local held = string.match(head, '^{"_apex_seq":(%d+)')
local seq = ARGV[1]
if held and (#held > #seq or (#held == #seq and held >= seq)) then return 0 end
local set
if ARGV[3] == '' then
  set = redis.pcall('SET', KEYS[1], ARGV[2])
else
  set = redis.pcall('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
if set.err then return set end
return 1
)";

/// KEYS[1], ARGV[1] = seq of the delete. What holds no version goes too.
inline constexpr const char* kUnlinkIfNotNewerLua = R"(
local head = redis.pcall('GETRANGE', KEYS[1], 0, 40)
if type(head) == 'table' then return head end
local held = string.match(head, '^{"_apex_seq":(%d+)')
local seq = ARGV[1]
if held and (#held > #seq or (#held == #seq and held > seq)) then return 0 end
return redis.pcall('UNLINK', KEYS[1])
)";

/// KEYS[1], ARGV[1] = seq of a truncation, whose keys were found by a pattern: what holds another
/// type of value is no entry.
inline constexpr const char* kUnlinkIfTextLua = R"(
local head = redis.pcall('GETRANGE', KEYS[1], 0, 40)
if type(head) == 'table' then
  if string.find(head.err, 'WRONGTYPE', 1, true) then return 0 end
  return head
end
local held = string.match(head, '^{"_apex_seq":(%d+)')
local seq = ARGV[1]
if held and (#held > #seq or (#held == #seq and held > seq)) then return 0 end
return redis.pcall('UNLINK', KEYS[1])
)";

/// KEYS[1], ARGV[1] = the one seq to remove.
inline constexpr const char* kUnlinkIfHoldsLua = R"(
local head = redis.pcall('GETRANGE', KEYS[1], 0, 40)
if type(head) == 'table' then return head end
if string.match(head, '^{"_apex_seq":(%d+)') ~= ARGV[1] then return 0 end
return redis.pcall('UNLINK', KEYS[1])
)";

/// Reads a key, and where it is missing takes its lease or shares the one that is taken: KEYS[1] =
/// key, KEYS[2] = its lease, ARGV[1] = a token nobody else has, ARGV[2] = milliseconds the lease
/// holds. Answers {"value", the value}, {"lease", the token to fill with} or {"none", ""}: it is
/// known that there is no such row.
inline constexpr const char* kGetOrLeaseLua = R"(
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

/// Fills a key under its lease and gives the lease back: KEYS as above, ARGV[1] = the token,
/// ARGV[2] = value, or '' to remember that there is no such row, ARGV[3] = milliseconds to live or
/// ''. Answers 0 where the lease is gone, and where a newer value has come meanwhile.
inline constexpr const char* kFillLua = R"(
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

}  // namespace apex::redis
