// Entries of the cache as a reader sees them: read, and filled under a lease where they are
// missing. Also what the server says of itself as a cache.
//
// Thread-safe: every call borrows a connection. No call returns later than its deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/pool.h"
#include "core/result.h"
#include "stores/redis/client.h"
#include "stores/redis/target.h"

namespace apex::redis {

/// What is known of a key.
struct Looked {
  enum class Kind {
    kValue,  ///< `text` is the value.
    kLease,  ///< Nothing; `text` is the lease that a fill needs.
    kNone,   ///< It is remembered that there is no such row.
    kFull,   ///< Nothing, and no key may be added.
  };
  Kind kind = Kind::kLease;
  std::string text;
};

/// As INFO has them, since the server was started; of a cluster the sum over its primaries.
struct CacheStatistics {
  int64_t total_keys = 0;  ///< Of the database that is used.
  int64_t memory_usage_bytes = 0;
  int64_t memory_limit_bytes = 0;  ///< 0: none.
  std::string eviction_policy;
  int64_t keyspace_hits = 0;
  int64_t keyspace_misses = 0;
  int64_t evictions = 0;
  int64_t expirations = 0;
  int64_t keys_max = 0;  ///< Where the sidecar adds none any more; 0: it always does.

  /// From 0 to 100; 0 when nothing was asked.
  double hit_rate() const;
};

/// Tells whether a server may have lost its keys between two looks.
struct ServerLife {
  std::string run;      ///< Another one after each start.
  int64_t flushes = 0;  ///< FLUSHALL and FLUSHDB since then.

  bool LostKeysSince(const ServerLife& earlier) const {
    return run != earlier.run || flushes > earlier.flushes;
  }
};

class CacheEntries {
 public:
  /// Does not connect. The error says what is wrong with the uri, without repeating it.
  static Result<std::unique_ptr<CacheEntries>> Create(const RedisOptions& options);

  const std::string& key_prefix() const { return key_prefix_; }

  /// The value of a key; nullopt where there is none.
  Result<std::optional<std::string>> Get(const std::string& key, Deadline deadline);
  Result<Looked> GetOrLease(const std::string& key, Deadline deadline);

  /// False: the lease is gone, because the row has changed or the server has let it go, or a newer
  /// value has come. `to_live` nullopt: for ever.
  Result<bool> Fill(const std::string& key, const std::string& lease, const std::string& value,
                    std::optional<std::chrono::milliseconds> to_live, Deadline deadline);
  /// Remembers for a while that there is no such row.
  Result<bool> FillNone(const std::string& key, const std::string& lease,
                        std::chrono::milliseconds to_live, Deadline deadline);

  Result<ServerLife> Life(Deadline deadline);

  Result<CacheStatistics> Statistics(Deadline deadline);

 private:
  enum Script : size_t { kGetOrLease, kFill };

  CacheEntries(const RedisOptions& options, const Target& target);

  Result<std::vector<Reply>> Run(std::string_view operation, const Commands& commands,
                                 Deadline deadline);
  /// At every primary of a cluster.
  Result<std::vector<Reply>> RunEverywhere(std::string_view operation, const Commands& commands,
                                           Deadline deadline);
  Result<std::vector<Reply>> Invoke(Script script, std::string_view operation,
                                    const std::string& key,
                                    std::initializer_list<std::string_view> arguments,
                                    Deadline deadline);

  const std::string key_prefix_;
  const int64_t keys_max_;
  Pool<Client> connections_;
};

/// What INFO answers with its command statistics. Pure.
ServerLife ParseLife(std::string_view info);

/// What INFO answers, for the database of this number. Pure.
CacheStatistics ParseStatistics(std::string_view info, int64_t total_keys);

}  // namespace apex::redis
