#include "stores/redis/cache_entries.h"

#include <fmt/format.h>

#include <charconv>
#include <random>

#include "stores/redis/error.h"
#include "stores/redis/lease.h"
#include "stores/redis/scripts.h"

namespace apex::redis {
namespace {

/// Requests that are served at once; each is over in less than a millisecond.
constexpr size_t kConnectionsMax = 8;
/// Longer than any fill takes: whoever is slower than this fills nothing.
constexpr std::chrono::milliseconds kLease{10000};

/// Told apart from every other token of every process.
std::string NewToken() {
  thread_local std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

/// The value of one line "name:value" of INFO; empty where there is none.
std::string_view Line(std::string_view info, std::string_view name) {
  for (size_t at = info.find(name); at != std::string_view::npos; at = info.find(name, at + 1)) {
    const size_t value = at + name.size();
    const bool begins_line = at == 0 || info[at - 1] == '\n';
    if (!begins_line || value >= info.size() || info[value] != ':') continue;
    return info.substr(value + 1, info.find_first_of("\r\n", value) - value - 1);
  }
  return {};
}

int64_t Number(std::string_view info, std::string_view name) {
  const std::string_view text = Line(info, name);
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

StoreError UnknownAnswer(std::string_view operation) {
  return ClientError(operation, ErrorKind::kUnknownOutcome, "apex.protocol",
                     "Redis gave an answer of another form");
}

}  // namespace

double CacheStatistics::hit_rate() const {
  const auto asked = static_cast<double>(keyspace_hits + keyspace_misses);
  return asked == 0 ? 0 : 100 * static_cast<double>(keyspace_hits) / asked;
}

ServerLife ParseLife(std::string_view info) {
  // "calls=3,usec=..."
  const auto calls = [&](std::string_view command) -> int64_t {
    constexpr std::string_view kCalls = "calls=";
    const std::string_view line = Line(info, command);
    if (!line.starts_with(kCalls)) return 0;
    int64_t number = 0;
    std::from_chars(line.data() + kCalls.size(), line.data() + line.size(), number);
    return number;
  };
  return {.run = std::string(Line(info, "run_id")),
          .flushes = calls("cmdstat_flushall") + calls("cmdstat_flushdb")};
}

CacheStatistics ParseStatistics(std::string_view info, int64_t total_keys) {
  return {.total_keys = total_keys,
          .memory_usage_bytes = Number(info, "used_memory"),
          .memory_limit_bytes = Number(info, "maxmemory"),
          .eviction_policy = std::string(Line(info, "maxmemory_policy")),
          .keyspace_hits = Number(info, "keyspace_hits"),
          .keyspace_misses = Number(info, "keyspace_misses"),
          .evictions = Number(info, "evicted_keys"),
          .expirations = Number(info, "expired_keys")};
}

Result<std::unique_ptr<CacheEntries>> CacheEntries::Create(const RedisOptions& options) {
  const std::optional<Target> target = ParseTarget(options);
  if (!target) {
    return ClientError("configure", ErrorKind::kPermanent, "apex.config",
                       fmt::format("the uri is not of the form {}", kUriForms));
  }
  return std::unique_ptr<CacheEntries>(new CacheEntries(options, *target));
}

// A fill needs no limit of its own: it puts the entry in the place of the lease.
CacheEntries::CacheEntries(const RedisOptions& options, const Target& target)
    : key_prefix_(options.key_prefix),
      keys_max_(options.keys_max),
      connections_(kConnectionsMax, [target, keys_max = options.keys_max] {
        return Client::Make(target,
                            {WithKeysMax(keys_max, "{'full', ''}", kGetOrLeaseLua), kFillLua});
      }) {}

Result<std::optional<std::string>> CacheEntries::Get(const std::string& key, Deadline deadline) {
  Commands get;
  get.Add({"GET", key}, 1);
  auto replies = Run("get", get, deadline);
  if (!replies.ok()) return replies.error();
  Reply& reply = replies->front();
  if (reply.type != Reply::Type::kText) return std::optional<std::string>();
  return std::optional(std::move(reply.text));
}

Result<Looked> CacheEntries::GetOrLease(const std::string& key, Deadline deadline) {
  auto replies =
      Invoke(kGetOrLease, "get", key, {NewToken(), std::to_string(kLease.count())}, deadline);
  if (!replies.ok()) return replies.error();
  std::vector<Reply>& parts = replies->front().elements;
  if (parts.size() != 2) return UnknownAnswer("get");
  if (parts[0].text == "none") return Looked{Looked::Kind::kNone, ""};
  if (parts[0].text == "full") return Looked{Looked::Kind::kFull, ""};
  const auto kind = parts[0].text == "value" ? Looked::Kind::kValue : Looked::Kind::kLease;
  return Looked{kind, std::move(parts[1].text)};
}

Result<bool> CacheEntries::Fill(const std::string& key, const std::string& lease,
                                const std::string& value,
                                std::optional<std::chrono::milliseconds> to_live,
                                Deadline deadline) {
  auto replies =
      Invoke(kFill, "fill", key,
             {lease, value, to_live ? std::to_string(to_live->count()) : std::string()}, deadline);
  if (!replies.ok()) return replies.error();
  return replies->front().integer == 1;
}

Result<bool> CacheEntries::FillNone(const std::string& key, const std::string& lease,
                                    std::chrono::milliseconds to_live, Deadline deadline) {
  return Fill(key, lease, "", to_live, deadline);
}

Result<ServerLife> CacheEntries::Life(Deadline deadline) {
  const auto replies =
      RunEverywhere("info", {{"INFO", "server"}, {"INFO", "commandstats"}}, deadline);
  if (!replies.ok()) return replies.error();
  ServerLife life;
  for (size_t i = 0; i + 1 < replies->size(); i += 2) {
    const ServerLife one = ParseLife((*replies)[i].text + (*replies)[i + 1].text);
    life.run += one.run;
    life.flushes += one.flushes;
  }
  return life;
}

Result<CacheStatistics> CacheEntries::Statistics(Deadline deadline) {
  const auto replies = RunEverywhere("info", {{"INFO"}, {"DBSIZE"}}, deadline);
  if (!replies.ok()) return replies.error();
  CacheStatistics all;
  for (size_t i = 0; i + 1 < replies->size(); i += 2) {
    CacheStatistics one = ParseStatistics((*replies)[i].text, (*replies)[i + 1].integer);
    all.total_keys += one.total_keys;
    all.memory_usage_bytes += one.memory_usage_bytes;
    all.memory_limit_bytes += one.memory_limit_bytes;
    all.eviction_policy = std::move(one.eviction_policy);
    all.keyspace_hits += one.keyspace_hits;
    all.keyspace_misses += one.keyspace_misses;
    all.evictions += one.evictions;
    all.expirations += one.expirations;
    all.keys_max += keys_max_;
  }
  return all;
}

Result<std::vector<Reply>> CacheEntries::RunEverywhere(std::string_view operation,
                                                       const Commands& commands,
                                                       Deadline deadline) {
  const auto connection = connections_.Borrow(deadline);
  if (!connection) {
    return ClientError(operation, ErrorKind::kTransient, kTimeout,
                       "every connection is in use up to the deadline");
  }
  return connection->RunEverywhere(operation, commands, deadline);
}

Result<std::vector<Reply>> CacheEntries::Run(std::string_view operation, const Commands& commands,
                                             Deadline deadline) {
  const auto connection = connections_.Borrow(deadline);
  if (!connection) {
    return ClientError(operation, ErrorKind::kTransient, kTimeout,
                       "every connection is in use up to the deadline");
  }
  return connection->Run(operation, commands, deadline);
}

Result<std::vector<Reply>> CacheEntries::Invoke(Script script, std::string_view operation,
                                                const std::string& key,
                                                std::initializer_list<std::string_view> arguments,
                                                Deadline deadline) {
  const auto connection = connections_.Borrow(deadline);
  if (!connection) {
    return ClientError(operation, ErrorKind::kTransient, kTimeout,
                       "every connection is in use up to the deadline");
  }
  if (connection->has_slots() && !LeaseIsBeside(key)) {
    return ClientError(operation, ErrorKind::kPermanent, kBadKey,
                       "a key with a } and without a hash tag has no lease on Redis Cluster");
  }
  Commands commands;
  commands.Begin(5 + arguments.size(), 3);
  const std::string lease = LeaseKey(key);
  for (const std::string_view each :
       {std::string_view("EVALSHA"), std::string_view(connection->ScriptDigest(script)),
        std::string_view("2"), std::string_view(key), std::string_view(lease)}) {
    commands.Argument(each);
  }
  for (const std::string_view argument : arguments) commands.Argument(argument);
  return connection->Run(operation, commands, deadline);
}

}  // namespace apex::redis
