#include "config/keys.h"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <memory>
#include <string_view>

#include "core/uri.h"

namespace apex::config {
namespace {

constexpr int64_t kDayMs = 24LL * 60 * 60 * 1000;
constexpr int64_t kKeysMax = 1'000'000'000'000;
constexpr size_t kPipelineBytesMax = 63;

constexpr std::array<std::string_view, 6> kNeo4jSchemes{"bolt",  "bolt+s",  "bolt+ssc",
                                                        "neo4j", "neo4j+s", "neo4j+ssc"};
constexpr std::array<std::string_view, 2> kQdrantSchemes{"http", "https"};
constexpr std::array<std::string_view, 6> kRedisSchemes{
    "redis", "redis+cluster", "redis+sentinel", "rediss", "rediss+cluster", "rediss+sentinel"};
constexpr std::array<std::string_view, 5> kLevels{"trace", "debug", "info", "warn", "error"};

using Check = bool (*)(const std::string&);

bool Anything(const std::string& value) { return value.find('\0') == std::string::npos; }
bool NotEmpty(const std::string& value) { return !value.empty() && Anything(value); }

/// One port or a list with one for each host; an empty one stands for the default.
bool ArePorts(std::string_view text) {
  for (;;) {
    const std::string_view port = text.substr(0, text.find(','));
    uint16_t number = 0;
    const char* const end = port.data() + port.size();
    const auto [at, error] = std::from_chars(port.data(), end, number);
    if (!port.empty() && (error != std::errc() || at != end || number == 0)) return false;
    if (port.size() == text.size()) return true;
    text.remove_prefix(port.size() + 1);
  }
}

/// libpq itself reads it, except for ports, which it reads only when it connects. What it says to a
/// string that it cannot read may repeat a piece of a password and is left out.
bool IsDsn(const std::string& value) {
  if (!NotEmpty(value)) return false;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(value.c_str(), nullptr), PQconninfoFree);
  if (!options) return false;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const bool is_port = std::string_view(option->keyword) == "port" && option->val != nullptr;
    if (is_port && !ArePorts(option->val)) return false;
  }
  return true;
}

template <size_t n>
bool IsPlainAddress(const std::string& value, const std::array<std::string_view, n>& schemes) {
  const auto uri = ParseUri(value);
  return uri && std::ranges::find(schemes, uri->scheme) != schemes.end() && !uri->user &&
         uri->port != 0 && (uri->path.empty() || uri->path == "/");
}

/// A routing context, as in neo4j://host?region=eu, is for servers that route.
bool IsNeo4jUri(const std::string& value) {
  const size_t query = value.find('?');
  if (query != std::string::npos && !value.starts_with("neo4j")) return false;
  return IsPlainAddress(value.substr(0, query), kNeo4jSchemes);
}
bool IsQdrantUri(const std::string& value) { return IsPlainAddress(value, kQdrantSchemes); }

/// Nothing, "/" or up to three digits behind a slash.
bool IsDatabase(std::string_view path) {
  if (path.empty() || path == "/") return true;
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  return path.size() <= 4 && std::ranges::all_of(path.substr(1), is_digit);
}

bool IsRedisUri(const std::string& value) {
  const auto uri = ParseUriOfHosts(value);
  if (!uri || std::ranges::find(kRedisSchemes, uri->scheme) == kRedisSchemes.end()) return false;
  if (std::ranges::any_of(uri->hosts, [](const HostPort& host) { return host.port == 0; }))
    return false;
  const std::string_view path = uri->path;
  if (uri->scheme.ends_with("+cluster")) return path.empty() || path == "/";
  if (!uri->scheme.ends_with("+sentinel")) return uri->hosts.size() == 1 && IsDatabase(path);
  // The name that the sentinels know the primary by comes first.
  const size_t slash = std::min(path.find('/', 1), path.size());
  return slash > 1 && IsDatabase(path.substr(slash));
}

bool IsListen(const std::string& value) {
  const auto address = ParseHostPort(value);
  return address && address->port;
}

bool IsLevel(const std::string& value) {
  return std::ranges::find(kLevels, value) != kLevels.end();
}

bool IsPipeline(const std::string& value) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.';
  };
  return !value.empty() && value.size() <= kPipelineBytesMax && std::ranges::all_of(value, allowed);
}

/// `section` is the member of Config (an object or an optional one) and `field` the member of the
/// section.
template <typename Section>
Section& Deref(Section& section) {
  return section;
}
template <typename Section>
Section& Deref(std::optional<Section>& section) {
  return *section;
}
template <typename Section>
const Section& Deref(const Section& section) {
  return section;
}
template <typename Section>
const Section& Deref(const std::optional<Section>& section) {
  return *section;
}

template <typename Member, typename Section>
KeySpec Text(const char* name, Member Config::*section, std::string Section::*field, Check check,
             const char* expected, const char* meaning, bool secret = false) {
  KeySpec key{.name = name,
              .expected = expected,
              .meaning = meaning,
              .secret = secret,
              .set = {},
              .get = {}};
  key.set = [=](Config& config, const std::string& value) {
    if (!check(value)) return false;
    Deref(config.*section).*field = value;
    return true;
  };
  key.get = [=](const Config& config) { return Deref(config.*section).*field; };
  return key;
}

template <typename Member, typename Section>
KeySpec Secret(const char* name, Member Config::*section, std::string Section::*field, Check check,
               const char* expected, const char* meaning) {
  return Text(name, section, field, check, expected, meaning, true);
}

template <typename Member, typename Section>
KeySpec Integer(const char* name, Member Config::*section, int64_t Section::*field, int64_t min,
                int64_t max, const char* meaning) {
  KeySpec key{.name = name,
              .expected = "an integer from " + std::to_string(min) + " to " + std::to_string(max),
              .meaning = meaning,
              .integer = true,
              .set = {},
              .get = {}};
  key.set = [=](Config& config, const std::string& text) {
    int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || at != end || value < min || value > max) return false;
    Deref(config.*section).*field = value;
    return true;
  };
  key.get = [=](const Config& config) { return std::to_string(Deref(config.*section).*field); };
  return key;
}

KeySpec Format() {
  KeySpec key{.name = "log.format",
              .expected = "text or json",
              .meaning = "How log lines are written.",
              .set = {},
              .get = {}};
  key.set = [](Config& config, const std::string& value) {
    if (value != "text" && value != "json") return false;
    config.log.format = value == "json" ? LogFormat::kJson : LogFormat::kText;
    return true;
  };
  key.get = [](const Config& config) {
    return std::string(config.log.format == LogFormat::kJson ? "json" : "text");
  };
  return key;
}

std::vector<KeySpec> StoreKeys() {
  return {
      Secret("postgres.dsn", &Config::postgres, &Postgres::dsn, IsDsn,
             "a libpq connection string such as host=localhost dbname=app user=apex, or "
             "postgresql://...",
             "The database whose tables are attached: its primary, directly and not through a "
             "transaction pooler. Required."),
      Secret("postgres.password", &Config::postgres, &Postgres::password, Anything, "a string",
             "The password, where the connection string has none."),
      Text("neo4j.uri", &Config::neo4j, &Neo4j::uri, IsNeo4jUri,
           "bolt://host[:port] or neo4j://host[:port], with +s or +ssc for TLS; user and password "
           "have keys of their own",
           "Where Neo4j is. Without it Neo4j is not used."),
      Text("neo4j.user", &Config::neo4j, &Neo4j::user, NotEmpty, "a name",
           "The user to log in as."),
      Secret("neo4j.password", &Config::neo4j, &Neo4j::password, Anything, "a string",
             "The user's password; none: no authentication."),
      Text("neo4j.database", &Config::neo4j, &Neo4j::database, NotEmpty, "a name",
           "The database written to."),
      Text("qdrant.uri", &Config::qdrant, &Qdrant::uri, IsQdrantUri,
           "http://host:6334 or https://host:6334, the gRPC port",
           "Where Qdrant's gRPC port is. Without it Qdrant is not used."),
      Secret("qdrant.api_key", &Config::qdrant, &Qdrant::api_key, Anything, "a string",
             "The API key, where Qdrant asks for one."),
      Secret("redis.uri", &Config::redis, &Redis::uri, IsRedisUri,
             "redis://[user[:password]@]host[:port][/database], "
             "redis+cluster://[user[:password]@]host[:port][,...] or "
             "redis+sentinel://[user[:password]@]host[:port][,...]/primary[/database], with rediss "
             "in place of redis for TLS",
             "Where Redis is. Without it Redis is not used."),
      Secret("redis.password", &Config::redis, &Redis::password, Anything, "a string",
             "The password, where the address has none."),
      Secret("redis.sentinel_password", &Config::redis, &Redis::sentinel_password, Anything,
             "a string", "The password of the sentinels themselves, where they ask for one."),
      Text("redis.tls_ca_file", &Config::redis, &Redis::tls_ca_file, Anything, "the path of a file",
           "The certificates trusted for rediss://; without it those that the system trusts."),
      Text("redis.tls_cert_file", &Config::redis, &Redis::tls_cert_file, Anything,
           "the path of a file",
           "The certificate shown to a server that asks for one, as Redis does by default."),
      Text("redis.tls_key_file", &Config::redis, &Redis::tls_key_file, Anything,
           "the path of a file", "The private key of that certificate."),
      Text("redis.key_prefix", &Config::redis, &Redis::key_prefix, Anything, "a string",
           "Put before every key and pattern, so that several applications can share a Redis."),
      Text("redis.channel", &Config::redis, &Redis::channel, NotEmpty, "a name",
           "The channel that invalidation events are published on."),
      Text("redis.stream", &Config::redis, &Redis::stream, Anything, "a key",
           "A stream that keeps the last 10000 events as well, for subscribers that were away."),
      Integer("redis.keys_max", &Config::redis, &Redis::keys_max, 0, kKeysMax,
              "The sidecar adds no key where the database, or the server of a cluster, holds so "
              "many, whoever's they are; 0: no limit."),
  };
}

std::vector<KeySpec> ProcessKeys() {
  return {
      Text("http.listen", &Config::http, &Http::listen, IsListen,
           "host:port; port 0 takes a free one",
           "Where metrics, health, API and console are served."),
      Secret("http.token", &Config::http, &Http::token, Anything, "a string",
             "The bearer token of calls that change something; without it such calls are refused."),
      Format(),
      Text("log.level", &Config::log, &Log::level, IsLevel, "trace, debug, info, warn or error",
           "The least severe lines written."),
  };
}

std::vector<KeySpec> EngineKeys() {
  return {
      Text("engine.pipeline", &Config::engine, &Engine::pipeline, IsPipeline,
           "up to 63 letters, digits, '_', '-' or '.'", "The pipeline this process works for."),
      Integer("engine.lease_ms", &Config::engine, &Engine::lease_ms, 100, 60000,
              "A leader without a sign of life for this long is replaced by a standby."),
      Integer("engine.batch_rows_max", &Config::engine, &Engine::batch_rows_max, 1, 100000,
              "Rows sent to the stores at once."),
      Integer("engine.batches_in_flight_max", &Config::engine, &Engine::batches_in_flight_max, 1,
              64, "Batches of disjoint rows under way at once."),
      Integer("engine.piece_rows_max", &Config::engine, &Engine::piece_rows_max, 1, 1000000,
              "Changes read from the outbox at once, besides the rest of their sagas up to 8192 "
              "further; a saga that reaches beyond is split."),
      Integer("engine.pending_rows_max", &Config::engine, &Engine::pending_rows_max, 1, 10000000,
              "Changes read and not yet settled; no more are read beyond it. Not less than "
              "engine.piece_rows_max."),
      Integer("engine.poll_ms", &Config::engine, &Engine::poll_ms, 10, 60000,
              "The longest sleep between looks at the outbox without a wake-up."),
      Integer("engine.store_timeout_ms", &Config::engine, &Engine::store_timeout_ms, 100, 600000,
              "The longest one call to a store may take."),
      Integer("engine.backoff_initial_ms", &Config::engine, &Engine::backoff_initial_ms, 1, 60000,
              "The wait after a store's first failure; it doubles with each further one."),
      Integer("engine.backoff_max_ms", &Config::engine, &Engine::backoff_max_ms, 1, 3600000,
              "The longest wait between attempts. Not less than engine.backoff_initial_ms."),
      Integer(
          "engine.give_up_after_ms", &Config::engine, &Engine::give_up_after_ms, 0, 365 * kDayMs,
          "A saga whose store has been failing for this long is compensated and parked; 0: never."),
      Integer("engine.shutdown_ms", &Config::engine, &Engine::shutdown_ms, 0, 600000,
              "The time to finish work in flight after SIGTERM."),
  };
}

std::vector<KeySpec> EveryKey() {
  std::vector<KeySpec> keys = StoreKeys();
  std::ranges::move(ProcessKeys(), std::back_inserter(keys));
  std::ranges::move(EngineKeys(), std::back_inserter(keys));
  return keys;
}

}  // namespace

std::span<const KeySpec> KeySpecs() {
  static const std::vector<KeySpec> keys = EveryKey();
  return keys;
}

Config WithEveryStore() {
  Config config;
  config.neo4j.emplace();
  config.qdrant.emplace();
  config.redis.emplace();
  return config;
}

}  // namespace apex::config
