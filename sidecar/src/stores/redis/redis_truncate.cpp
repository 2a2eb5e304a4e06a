// What a truncated table may have left in the cache: every key that some row of it could name.
//
// Which rows there were nobody knows any more, so the keys are looked for by patterns with a value
// of the column's kind where a row's own would stand. An entry that holds a newer version stays.
// Tags are looked for by their sets. A result that is about to be registered under one has no set
// yet: without the journal its fill is refused.
#include <algorithm>
#include <chrono>
#include <utility>

#include "stores/redis/error.h"
#include "stores/redis/lease.h"
#include "stores/redis/redis_store.h"
#include "stores/redis/tags.h"

namespace apex::redis {
namespace {

/// Which argument of UNLINK is the key.
constexpr size_t kFirstKey = 1;
/// Pages of one call of Truncate: others have their turn in between.
constexpr int kPagesMax = 500;

}  // namespace

Result<bool> RedisStore::Truncate(const Fence& fence, const Change& truncation, Deadline deadline) {
  client_->Claim(fence);
  passing_ = {};
  if (!truncation.mapping->cache) return true;
  Result<const CachePlan*> plan = PlanOf(truncation.mapping);
  if (!plan.ok()) return plan.error();
  const TableKeys table = (*plan)->KeysOfTable();
  Result<bool> passed = PassOver("truncate", table, truncation, kPagesMax, deadline);
  if (!passed.ok() || !*passed) return passed;
  if (Status gone = InvalidateTags("truncate", table.tags, deadline); !gone.ok())
    return gone.error();

  Commands last;
  for (const std::string& key : table.keys) {
    last.Add({"UNLINK", LeaseKey(key)}, kFirstKey);
    last.Add({"UNLINK", key}, kFirstKey);
  }
  const std::string time = EventTime(std::chrono::duration_cast<std::chrono::microseconds>(
                                         std::chrono::system_clock::now().time_since_epoch())
                                         .count());
  for (const std::string& event : truncation.mapping->cache->events) {
    Announce(EventMessage(truncation.row, event + "_truncated", time), last);
  }
  if (last.empty()) return true;
  if (auto replies = client_->Run("truncate", last, deadline); !replies.ok())
    return replies.error();
  return true;
}

Status RedisStore::EvictTable(const Change& truncation, Deadline deadline) {
  if (!truncation.mapping->cache) return {};
  Result<const CachePlan*> plan = PlanOf(truncation.mapping);
  if (!plan.ok()) return plan.error();
  TableKeys table = (*plan)->KeysOfTable();
  // The leases go in this pass, so that no entry can come back behind the one that Truncate makes.
  if (!table.entries.empty()) table.patterns.push_back(table.entries);
  for (std::string& pattern : table.patterns) pattern = LeaseKey(pattern);
  while (true) {
    Result<bool> passed = PassOver("evict", table, truncation, kPagesMax, deadline);
    if (!passed.ok()) return passed.error();
    if (*passed) return InvalidateTags("evict", std::move(table.tags), deadline);
  }
}

Result<bool> RedisStore::PassOver(std::string_view operation, const TableKeys& table,
                                  const Change& truncation, int pages_max, Deadline deadline) {
  std::vector<std::string> patterns = table.patterns;
  if (!table.entries.empty()) patterns.push_back(table.entries);
  std::ranges::copy(table.tag_sets, std::back_inserter(patterns));
  if (patterns.empty()) return true;
  const PatternSet set(std::move(patterns));
  const PassName name{operation, truncation.row.relation, truncation.seq};
  ScanPass pass;
  if (auto interrupted = passes_.extract(name)) {
    pass = std::move(interrupted.mapped());
  } else if (!table.tag_sets.empty()) {
    if (Status refused = RefuseTaggedFills(operation, deadline); !refused.ok())
      return refused.error();
  }
  for (int page = 0; page < pages_max; ++page) {
    if (Status given_way = GiveWay(); !given_way.ok()) return given_way.error();
    const ScanPass reached = pass;
    const auto found = client_->Scan(operation, set, pass, deadline);
    Status removed = found.ok() ? RemoveKeys(operation, table, truncation.seq, *found, deadline)
                                : Status(found.error());
    if (!removed.ok()) {
      // After another failure it may be another server, where the cursor says nothing.
      if (removed.error().native_code == kTimeout) passes_[name] = reached;
      return removed.error();
    }
    if (pass.over) return true;
  }
  passes_[name] = pass;
  return false;
}

Status RedisStore::RefuseTaggedFills(std::string_view operation, Deadline deadline) {
  Commands forget;
  forget.Add({"UNLINK", JournalKey(options_.key_prefix)}, kFirstKey);
  auto replies = client_->Run(operation, forget, deadline);
  return replies.ok() ? Status() : Status(replies.error());
}

Status RedisStore::RemoveKeys(std::string_view operation, const TableKeys& table, int64_t seq,
                              const std::vector<std::string>& keys, Deadline deadline) {
  const std::string version = std::to_string(seq);
  const std::string tags_begin = TagKey(options_.key_prefix, "");
  const auto is_tag_set = [&](const std::string& key) {
    return std::ranges::any_of(table.tag_sets,
                               [&](const auto& set) { return GlobMatch(set, key); });
  };
  std::vector<std::string> tags;
  Commands commands;
  for (const std::string& key : keys) {
    if (is_tag_set(key)) {
      tags.push_back(key.substr(tags_begin.size()));
    } else if (table.versioned && GlobMatch(table.entries, key)) {
      Invoke(kUnlinkIfText, key, {version}, commands);
    } else {
      commands.Add({"UNLINK", key}, kFirstKey);
    }
  }
  if (!commands.empty()) {
    if (auto replies = client_->Run(operation, commands, deadline); !replies.ok())
      return replies.error();
  }
  return InvalidateTags(operation, std::move(tags), deadline);
}

}  // namespace apex::redis
