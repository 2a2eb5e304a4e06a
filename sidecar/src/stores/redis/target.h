// Which Redis to write to, and as whom: one server, a cluster, or a primary that sentinels name.
//
// Pure. Holds secrets: nobody prints one whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.h"

namespace apex::redis {

struct RedisOptions {
  std::string uri;         ///< As docs/reference/configuration.md has it.
  std::string password;    ///< Where the uri has none.
  std::string key_prefix;  ///< Before every key and pattern, not before the channel.
  std::string channel = "cache_invalidation";
  std::string stream{};             ///< Where events are kept, too; empty: nowhere.
  int64_t keys_max = 0;             ///< No key is added where there are so many; 0: no limit.
  std::string sentinel_password{};  ///< Of the sentinels themselves.
  std::string tls_ca_file{};
  std::string tls_cert_file{};
  std::string tls_key_file{};
};

struct Target {
  enum class Kind { kServer, kCluster, kSentinel };

  Kind kind = Kind::kServer;
  /// The server; or nodes of the cluster, or sentinels, each of which knows the others.
  std::vector<net::Address> addresses{};
  std::string service{};   ///< By what name the sentinels know the primary.
  std::string user{};      ///< Empty: the default user.
  std::string password{};  ///< Empty: no authentication.
  std::string sentinel_password{};
  int database = 0;
  std::optional<net::Tls> tls{};
};

/// nullopt: the uri cannot be read.
std::optional<Target> ParseTarget(const RedisOptions& options);

/// What ParseTarget reads, for an error message.
inline constexpr std::string_view kUriForms =
    "redis://[user[:password]@]host[:port][/database], "
    "redis+cluster://[user[:password]@]host[:port][,host[:port]...] or "
    "redis+sentinel://[user[:password]@]host[:port][,host[:port]...]/primary[/database], with "
    "rediss "
    "in place of redis for TLS";

}  // namespace apex::redis
