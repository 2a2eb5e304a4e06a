#include "cli/cache.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/stores.h"

namespace apex::cli {
namespace {

/// Whoever scrapes metrics must not wait for a cache that is away.
constexpr std::chrono::milliseconds kPatience{500};

/// Fewer than the HTTP port has threads. A store that hangs holds these up and nobody else: whoever
/// finds no place for a moment is told to ask again.
constexpr std::ptrdiff_t kReadersMax = 56;
constexpr std::chrono::milliseconds kMoment{200};

int StatusOf(cache::Answer::Kind kind) {
  switch (kind) {
    case cache::Answer::Kind::kFound: return 200;
    case cache::Answer::Kind::kNoSuchRow:
    case cache::Answer::Kind::kNoSuchEntity: return 404;
    case cache::Answer::Kind::kBadKey: return 400;
    case cache::Answer::Kind::kUnavailable: return 503;
  }
  return 503;
}

const char* NameOf(cache::Answer::Source source) {
  switch (source) {
    case cache::Answer::Source::kNone: return "";
    case cache::Answer::Source::kHit: return "HIT";
    case cache::Answer::Source::kMiss: return "MISS";
    case cache::Answer::Source::kBypass: return "BYPASS";
  }
  return "";
}

}  // namespace

std::unique_ptr<CacheService> CacheService::Open(const config::Config& config, Metrics& metrics) {
  if (!config.redis) return nullptr;
  auto entries = redis::CacheEntries::Create(RedisOptionsFrom(*config.redis));
  if (!entries.ok()) return nullptr;
  return std::unique_ptr<CacheService>(new CacheService(config, *std::move(entries), metrics));
}

CacheService::CacheService(const config::Config& config,
                           std::unique_ptr<redis::CacheEntries> entries, Metrics& metrics)
    : entries_(std::move(entries)),
      rows_(AdminOptionsFrom(config)),
      read_through_({.pipeline = config.engine.pipeline}, *entries_, rows_, metrics),
      warmer_(*entries_, read_through_),
      metrics_(metrics),
      places_(kReadersMax) {}

http::CachedRow CacheService::Row(const std::string& entity, const std::vector<std::string>& key) {
  if (!places_.try_acquire_for(kMoment)) {
    metrics_.CacheRead("error");
    return {503, "", "too many readers wait for a store that does not answer"};
  }
  cache::Answer answer = read_through_.Get(entity, key);
  places_.release();
  return {StatusOf(answer.kind), NameOf(answer.source), std::move(answer.text)};
}

Result<std::string> CacheService::Figures() {
  Result<redis::CacheStatistics> statistics = entries_->Statistics(Deadline::After(kPatience));
  if (!statistics.ok()) return statistics.error();
  return ToJson(*statistics);
}

void CacheService::UpdateMetrics() {
  Result<redis::CacheStatistics> found = entries_->Statistics(Deadline::After(kPatience));
  if (!found.ok()) return;
  metrics_.SetCache({.keys = found->total_keys,
                     .keys_max = found->keys_max,
                     .memory_bytes = found->memory_usage_bytes,
                     .memory_limit_bytes = found->memory_limit_bytes,
                     .hits = found->keyspace_hits,
                     .misses = found->keyspace_misses,
                     .hit_rate = found->hit_rate(),
                     .evictions = found->evictions,
                     .expirations = found->expirations});
}

std::string ToJson(const redis::CacheStatistics& statistics) {
  // Two digits behind the point tell all that a rate has to say.
  const double hit_rate = std::round(100 * statistics.hit_rate()) / 100;
  return nlohmann::ordered_json{{"total_keys", statistics.total_keys},
                                {"keys_max", statistics.keys_max},
                                {"memory_usage_bytes", statistics.memory_usage_bytes},
                                {"memory_limit_bytes", statistics.memory_limit_bytes},
                                {"eviction_policy", statistics.eviction_policy},
                                {"keyspace_hits", statistics.keyspace_hits},
                                {"keyspace_misses", statistics.keyspace_misses},
                                {"hit_rate", hit_rate},
                                {"evictions", statistics.evictions},
                                {"expirations", statistics.expirations}}
      .dump();
}

Result<redis::CacheStatistics> AskCache(const config::Redis& redis, Deadline deadline) {
  auto entries = redis::CacheEntries::Create(RedisOptionsFrom(redis));
  if (!entries.ok()) return entries.error();
  return (*entries)->Statistics(deadline);
}

}  // namespace apex::cli
