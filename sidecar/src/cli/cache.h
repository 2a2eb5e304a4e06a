// The cache as the HTTP port and `apex status --cache` show it.
#pragma once

#include <memory>
#include <semaphore>
#include <string>
#include <vector>

#include "cache/read_through.h"
#include "cache/warmer.h"
#include "config/config.h"
#include "core/deadline.h"
#include "core/result.h"
#include "http/router.h"
#include "metrics/metrics.h"
#include "stores/postgres/row_lookup.h"
#include "stores/redis/cache_entries.h"

namespace apex::cli {

/// Thread-safe. Connects to nothing before it is asked something.
class CacheService {
 public:
  /// Null without a Redis; its uri has been looked at when the stores were opened.
  static std::unique_ptr<CacheService> Open(const config::Config& config, Metrics& metrics);

  http::CachedRow Row(const std::string& entity, const std::vector<std::string>& key);
  /// A JSON object.
  Result<std::string> Figures();
  /// Leaves them as they are while Redis does not answer.
  void UpdateMetrics();

 private:
  CacheService(const config::Config& config, std::unique_ptr<redis::CacheEntries> entries,
               Metrics& metrics);

  std::unique_ptr<redis::CacheEntries> entries_;
  postgres::RowLookup rows_;
  cache::ReadThrough read_through_;
  cache::Warmer warmer_;
  Metrics& metrics_;
  std::counting_semaphore<> places_;  ///< Of readers that may wait for a store.
};

/// As the API and `apex status --cache --json` have them.
std::string ToJson(const redis::CacheStatistics& statistics);

/// Asks the Redis of the configuration.
Result<redis::CacheStatistics> AskCache(const config::Redis& redis, Deadline deadline);

}  // namespace apex::cli
