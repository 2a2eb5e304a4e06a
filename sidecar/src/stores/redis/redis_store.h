// The cache: rows' entries, keys and patterns that depend on rows, and the events that tell
// subscribers.
//
// A TargetStore as core/target_store.h has it, used by one thread. A value carries its version and
// a script compares; the connections of an earlier leader are ended (claim.h).
#pragma once

#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "core/target_store.h"
#include "stores/redis/cache_plan.h"
#include "stores/redis/client.h"
#include "stores/redis/glob.h"
#include "stores/redis/image.h"
#include "stores/redis/scripts.h"
#include "stores/redis/target.h"

namespace apex::redis {

class RedisStore : public CacheStore {
 public:
  /// Does not connect. The error is permanent and says what is wrong with the uri, without
  /// repeating it.
  static Result<std::unique_ptr<RedisStore>> Create(RedisOptions options);

  Store store() const override { return Store::kRedis; }
  Status Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                 Deadline deadline) override;
  Status Evict(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) override;
  /// Entries and keys first, then patterns, then events: a subscriber that reads at once finds
  /// nothing stale. Nothing is sent when a row cannot be encoded.
  Status Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) override;
  /// Also entries that services have filled, what the templates name of any row, and what is
  /// registered under the tags of any row. Other values than texts under names like those of our
  /// own entries stay.
  Result<bool> Truncate(const Fence& fence, const Change& truncation, Deadline deadline) override;
  Status Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) override;
  /// Of the pass over all keys, which is one for however many patterns.
  std::chrono::microseconds FixedPart() const override { return passing_; }
  Status Ping(Deadline deadline) override;
  Status Examine(std::span<const MappingPtr> mappings, Deadline deadline) override;

 private:
  /// What one call has gathered for Redis before anything is sent.
  struct Work;

  RedisStore(RedisOptions options, const Target& target);

  /// Compiles every mapping's plan.
  Status Plan(std::span<const MappingPtr> mappings);
  Result<const CachePlan*> PlanOf(const MappingPtr& mapping);
  Status GatherWrite(const RowWrite& row, Work& work);
  Status GatherManual(const RowWrite& row, Work& work) const;
  Status GatherUndo(const RowUndo& row, Work& work);
  void GatherEvents(const TableMapping& mapping, const RowId& row, bool deleted, Work& work) const;
  void Invoke(Script script, std::string_view key,
              std::initializer_list<std::string_view> arguments, Commands& out) const;
  Status Carry(std::string_view operation, Work work, Deadline deadline);
  /// Deletes what is registered under the tags, in chunks of bounded size.
  Status InvalidateTags(std::string_view operation, std::vector<std::string> tags,
                        Deadline deadline);
  void Announce(const std::string& message, Commands& events) const;
  /// One pass over the keys for all patterns. A pass that its deadline cut short goes on where it
  /// was when the same patterns come again, so that a key space of any size is passed some time.
  Status UnlinkMatches(std::string_view operation, const std::vector<std::string>& patterns,
                       Deadline deadline);
  Status Unlink(std::string_view operation, const std::vector<std::string>& keys,
                Deadline deadline);

  RedisOptions options_;
  std::unique_ptr<Client> client_;
  Image image_;  ///< The one that is being read.
  /// By the mapping's address; the plan keeps it alive.
  std::unordered_map<const TableMapping*, CachePlan> plans_;

  // redis_truncate.cpp
  Status EvictTable(const Change& truncation, Deadline deadline);
  /// Up to `pages_max` pages of a pass over the keys of a truncated table. True: it is at its end.
  Result<bool> PassOver(std::string_view operation, const TableKeys& table,
                        const Change& truncation, int pages_max, Deadline deadline);
  /// Of results that depend on what was read until now, whatever tags they have.
  Status RefuseTaggedFills(std::string_view operation, Deadline deadline);
  Status RemoveKeys(std::string_view operation, const TableKeys& table, int64_t seq,
                    const std::vector<std::string>& keys, Deadline deadline);

  struct Interrupted {
    std::vector<std::string> patterns{};
    ScanPass pass{};
    std::vector<std::string> found{};  ///< And not deleted yet.
  };
  Interrupted interrupted_;
  std::chrono::microseconds passing_{};  ///< What the last Write's pass took.
  using PassName = std::tuple<std::string_view, uint32_t, int64_t>;
  std::map<PassName, ScanPass> passes_;  ///< Of truncations that are under way.
  int64_t epoch_ = 0;                    ///< Whose they are.
};

}  // namespace apex::redis
