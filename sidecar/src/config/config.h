// What `apex` is told: one TOML file, the same keys as environment variables, a few as flags.
//
// Precedence: flag, environment, file, default. Loaded once at start and never changed. Secrets are
// held here and printed nowhere: neither Describe() of an error nor a log line contains one.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace apex::config {

struct Postgres {
  std::string dsn;  ///< APEX_POSTGRES_DSN, libpq's syntax. Required.
  std::string password;
};

struct Neo4j {
  std::string uri;  ///< bolt:// bolt+s:// bolt+ssc:// neo4j:// neo4j+s:// neo4j+ssc://
  std::string user = "neo4j";
  std::string password;
  std::string database = "neo4j";
};

struct Qdrant {
  std::string uri;  ///< http://host:6334 or https://host:6334, the gRPC port
  std::string api_key;
};

struct Redis {
  std::string uri;  ///< redis:// redis+cluster:// redis+sentinel://, with rediss for TLS
  std::string password;
  std::string sentinel_password;
  std::string tls_ca_file;
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string key_prefix;
  std::string channel = "cache_invalidation";
  std::string stream;
  int64_t keys_max = 0;  ///< 0: no limit.
};

struct Http {
  std::string listen = "127.0.0.1:9464";
  std::string token;  ///< Needed by calls that change something; empty: such calls are refused.
};

enum class LogFormat { kText, kJson };

struct Log {
  LogFormat format = LogFormat::kText;
  std::string level = "info";
};

struct Engine {
  std::string pipeline = "default";
  int64_t lease_ms = 1500;
  int64_t batch_rows_max = 2000;
  int64_t batches_in_flight_max = 2;
  int64_t piece_rows_max = 4000;
  int64_t pending_rows_max = 20000;
  int64_t poll_ms = 1000;
  int64_t store_timeout_ms = 10000;
  int64_t backoff_initial_ms = 50;
  int64_t backoff_max_ms = 10000;
  int64_t give_up_after_ms = 0;  ///< 0: never.
  int64_t shutdown_ms = 10000;
};

struct Config {
  Postgres postgres;
  std::optional<Neo4j> neo4j;  ///< A store that is not configured is not used.
  std::optional<Qdrant> qdrant;
  std::optional<Redis> redis;
  Http http;
  Log log;
  Engine engine;
};

/// One key as the reference lists it. The same table drives loading, so the two cannot differ.
struct Key {
  std::string name;           ///< "engine.lease_ms"
  std::string environment;    ///< "APEX_ENGINE_LEASE_MS"
  std::string default_value;  ///< Empty: none.
  std::string expected;       ///< "an integer from 100 to 60000"
  std::string meaning;
  bool secret =
      false;  ///< Also taken as `<name>_file` and `<environment>_FILE`: a file holding the value.
};

/// Every key, by section in the order of Config.
std::vector<Key> Keys();

/// What is wrong, in the user's words: the key's name and what was expected. The caller exits with
/// code 2.
struct ConfigError {
  std::string message;
};

using Environment = std::map<std::string, std::string>;

/// `path` empty: no file. `flags` maps dotted keys ("postgres.dsn") to values given on the command
/// line. An environment variable with an empty value counts as not set, as container tools set it
/// for an absent value. APEX_ variables that are no key are left alone, since Kubernetes sets such
/// for every service (APEX_REDIS_PORT); unknown keys of a file are not.
std::variant<Config, ConfigError> Load(const std::string& path, const Environment& environment,
                                       const std::map<std::string, std::string>& flags);

}  // namespace apex::config
