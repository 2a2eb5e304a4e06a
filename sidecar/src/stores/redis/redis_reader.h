// Reads the entries that mode `write` has left in Redis, for `apex verify`. Values without a
// version are other writers' and are passed over.
//
// Used by one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stored_row.h"
#include "stores/redis/cache_plan.h"
#include "stores/redis/client.h"
#include "stores/redis/target.h"

namespace apex::redis {

class RedisReader : public StoreReader {
 public:
  /// Does not connect.
  static Result<std::unique_ptr<RedisReader>> Create(RedisOptions options);

  Store store() const override { return Store::kRedis; }
  bool Holds(const TableMapping& mapping) const override {
    return mapping.cache && mapping.cache->mode == CacheMode::kWrite &&
           !mapping.cache->entry.empty();
  }
  bool MayForget(const TableMapping& mapping) const override {
    return mapping.cache->ttl_seconds.has_value() || !mapping.cache->ttl_column.empty() ||
           options_.keys_max > 0;
  }
  Result<std::optional<StoredRow>> Expected(const ChangePtr& row) override;
  Status ReadAll(const MappingPtr& mapping, const Page& page) override;
  Result<std::vector<StoredRow>> ReadThese(const MappingPtr& mapping,
                                           std::span<const StoredRow> rows) override;

 private:
  RedisReader(RedisOptions options, const Target& target)
      : options_(std::move(options)), client_(Client::Make(target, {})) {}

  Result<const CachePlan*> PlanOf(const MappingPtr& mapping);
  Result<std::vector<StoredRow>> ReadKeys(const TableMapping& mapping, const CachePlan& plan,
                                          const std::vector<std::string>& keys);

  RedisOptions options_;
  std::unique_ptr<Client> client_;
  std::unordered_map<const TableMapping*, CachePlan> plans_;
};

/// An entry as it was written or read; nullopt: a value without a version, or not one of this
/// mapping's rows under the name of its key. Pure.
std::optional<StoredRow> DescribeEntry(const TableMapping& mapping, const CachePlan& plan,
                                       const std::string& name, const std::string& value);

}  // namespace apex::redis
