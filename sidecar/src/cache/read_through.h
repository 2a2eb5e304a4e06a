// One cached row by entity and key: from Redis or, where it is missing there, from PostgreSQL, with
// as many readers as there may be costing one query.
//
// Knows neither HTTP nor a protocol: it is given what it asks. Thread-safe; owns nothing that it is
// given, but for copies of mappings.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cache/most_read.h"
#include "core/deadline.h"
#include "core/mapping.h"
#include "core/result.h"
#include "metrics/metrics.h"
#include "stores/postgres/row_lookup.h"
#include "stores/redis/cache_entries.h"
#include "stores/redis/cache_plan.h"

namespace apex::cache {

struct Answer {
  enum class Kind { kFound, kNoSuchRow, kNoSuchEntity, kBadKey, kUnavailable };
  /// Where it is from: Redis, PostgreSQL, or PostgreSQL because Redis could not be used.
  enum class Source { kNone, kHit, kMiss, kBypass };

  Kind kind = Kind::kUnavailable;
  Source source = Source::kNone;
  std::string text;  ///< The row as cached JSON, or what is wrong in plain words.
};

struct ReadThroughOptions {
  std::string pipeline;
  std::chrono::milliseconds negative_ttl{2000};
};

class ReadThrough {
 public:
  ReadThrough(ReadThroughOptions options, redis::CacheEntries& entries, postgres::RowLookup& rows,
              Metrics& metrics);

  /// `key`: the texts of the primary key's columns, in their order.
  Answer Get(const std::string& entity, const std::vector<std::string>& key);
  /// The same for nobody: to have the row in Redis.
  Answer Load(const std::string& entity, const std::vector<std::string>& key) {
    return Find(entity, key);
  }
  /// The rows that were asked for most.
  std::vector<MostRead::Row> most_read() const { return most_read_.Top(); }

 private:
  struct Table {
    MappingPtr mapping;
    redis::CachePlan plan;
  };
  using Tables = std::map<std::string, Table>;
  struct Asked;
  /// One reading of a row, which everybody who misses it meanwhile waits for.
  struct Flight {
    std::mutex mutex;
    std::condition_variable landed;
    std::optional<Answer> answer;
  };

  Answer Find(const std::string& entity, const std::vector<std::string>& key);
  Result<std::shared_ptr<const Tables>> KnownTables();
  Result<std::shared_ptr<const Tables>> LoadTables();
  Answer Join(const Asked& asked);
  Answer LookOrRead(const Asked& asked);
  Answer ReadRow(const Asked& asked, const std::optional<std::string>& lease);
  void Remember(const Result<bool>& filled);

  const ReadThroughOptions options_;
  redis::CacheEntries& entries_;
  postgres::RowLookup& rows_;
  Metrics& metrics_;
  MostRead most_read_;

  std::mutex tables_mutex_;
  std::shared_ptr<const Tables> tables_;
  Deadline::Clock::time_point look_again_at_{};

  std::mutex flights_mutex_;
  std::map<std::string, std::shared_ptr<Flight>> flights_;  ///< By the entry's name.
};

/// The key as the outbox has it, where a type has many spellings of one value. nullopt: no row can
/// have it.
std::optional<std::vector<std::string>> CanonicalKey(const TableMapping& mapping,
                                                     const std::vector<std::string>& key);

}  // namespace apex::cache
