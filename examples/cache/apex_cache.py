"""Reading through a cache that Apex Saga invalidates, without ever leaving a stale entry: two calls of Redis for a miss, one for a hit.

    cache = Cache(redis.Redis(decode_responses=True))
    text = cache.get(f"doc:{id}", load=lambda: read_from_postgresql(id), seconds=3600)
"""

import secrets
from collections.abc import Callable

import redis

# Longer than `load` takes: whoever is slower than this fills nothing.
LEASE_MS = 10_000
# How long it is remembered that there is no such row.
NONE_MS = 2_000

GET_OR_LEASE = """
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
"""

FILL = """
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
"""

GET_OR_TAG_LEASE = """
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
"""

FILL_TAGGED = """
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
"""


def lease_key(key: str) -> str:
    """The lease of a key: in the key's own slot of a Redis Cluster."""
    opened = key.find("{")
    closed = key.find("}", opened + 1) if opened >= 0 else -1
    return f"{key}#lease" if closed > opened + 1 else f"{{{key}}}#lease"


class Cache:
    """Thread-safe, as the client is. The client decodes its responses; `prefix` is the sidecar's `redis.key_prefix`."""

    def __init__(self, client: redis.Redis, prefix: str = "") -> None:
        self._prefix = prefix
        self._get_or_lease = client.register_script(GET_OR_LEASE)
        self._fill = client.register_script(FILL)
        self._get_or_tag_lease = client.register_script(GET_OR_TAG_LEASE)
        self._fill_tagged = client.register_script(FILL_TAGGED)

    def get(self, key: str, load: Callable[[], str | None], seconds: int | None = None) -> str | None:
        """The value of `key`, or what `load` reads from PostgreSQL's primary; None: there is none."""
        keys = [key, lease_key(key)]
        kind, text = self._get_or_lease(keys=keys, args=[secrets.token_hex(16), LEASE_MS])
        if kind == "value":
            return text
        if kind == "none":
            return None
        value = load()
        to_live = NONE_MS if value is None else "" if seconds is None else seconds * 1000
        self._fill(keys=keys, args=[text, value or "", to_live])
        return value

    def get_tagged(self, key: str, load: Callable[[], tuple[str, list[str]]], seconds: int) -> str:
        """The result of a query. `load` runs it and says under which tags it belongs: it vanishes with the first of them."""
        keys = [key, lease_key(key), f"{self._prefix}_apex:journal"]
        kind, text = self._get_or_tag_lease(keys=keys, args=[secrets.token_hex(16), LEASE_MS])
        if kind == "value":
            return text
        value, tags = load()
        sets = [f"{self._prefix}_apex:tag:{tag}" for tag in tags]
        self._fill_tagged(keys=[*keys, *sets], args=[text, value, seconds * 1000, *tags])
        return value
