#include "stores/redis/redis_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "stores/redis/error.h"
#include "stores/redis/glob.h"
#include "stores/redis/lease.h"
#include "stores/redis/slots.h"
#include "stores/redis/tags.h"

namespace apex::redis {
namespace {

constexpr size_t kKeysPerUnlink = 100;
/// Matches of a pass that wait to be deleted together: each time costs a round trip.
constexpr size_t kFoundMax = 1000;
/// Keys of a tag that Redis deletes in one call: it serves nobody else meanwhile.
constexpr int64_t kKeysPerTagCall = 1000;
/// A subscriber that was away for longer than this many events begins anew.
constexpr const char* kStreamEventsMax = "10000";
/// Which argument is the key: of UNLINK key, and of EVALSHA digest 1 key.
constexpr size_t kFirstKey = 1;
constexpr size_t kScriptKey = 3;
/// Mappings are few; the bound only keeps a table altered all day long from holding every version
/// of its mapping.
constexpr size_t kPlansMax = 1000;

int64_t NowUs() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::microseconds>(
             system_clock::now().time_since_epoch())
      .count();
}

StoreError BadImage(const RowId& row, const TableMapping& mapping) {
  return ClientError(
      "write", ErrorKind::kPermanent, kUnencodable,
      fmt::format("the image of row {} of {} is no JSON object", row.key, mapping.table));
}

/// Where keys have slots, few share one.
void AppendUnlinks(const std::vector<std::string>& keys, bool have_slots, Commands& commands) {
  const size_t keys_per_unlink = have_slots ? 1 : kKeysPerUnlink;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i % keys_per_unlink == 0) {
      commands.Begin(1 + std::min(keys_per_unlink, keys.size() - i), kFirstKey);
      commands.Argument("UNLINK");
    }
    commands.Argument(keys[i]);
  }
}

/// Each key with its lease, so that nobody fills it with what was read before. The lease comes
/// first: were the two ever parted, a fill in between would find none.
/// In a cluster each goes by itself: a server that is giving their slot away would not serve both
/// at once while one of them is not there.
void AppendInvalidations(const std::vector<std::string>& keys, bool have_slots,
                         Commands& commands) {
  std::vector<std::string> pairs;
  pairs.reserve(2 * keys.size());
  for (const std::string& key : keys) {
    pairs.push_back(LeaseKey(key));
    pairs.push_back(key);
  }
  AppendUnlinks(pairs, have_slots, commands);
}

void AddOnce(std::string key, std::vector<std::string>& keys) {
  if (std::ranges::find(keys, key) == keys.end()) keys.push_back(std::move(key));
}

/// Every image of the row's coalesced changes, each with the mapping it was captured under.
/// The newest comes last and is what `image` holds afterwards.
template <typename Visit>
Status ForEachImage(const RowWrite& row, Image& image, Visit visit) {
  for (const ChangePtr& change : row.changes) {
    for (const auto* text : {&change->before, &change->after}) {
      if (!*text || !change->mapping->cache) continue;
      if (!image.Read(**text)) return BadImage(change->row, *change->mapping);
      if (Status visited = visit(change->mapping, image); !visited.ok()) return visited;
    }
  }
  return {};
}

}  // namespace

struct RedisStore::Work {
  Invalidations invalidations;
  Commands scripts;
  Commands events;
  const std::string time = EventTime(NowUs());
};

Result<std::unique_ptr<RedisStore>> RedisStore::Create(RedisOptions options) {
  const std::optional<Target> target = ParseTarget(options);
  if (!target) {
    return ClientError("configure", ErrorKind::kPermanent, "apex.config",
                       fmt::format("the uri is not of the form {}", kUriForms));
  }
  return std::unique_ptr<RedisStore>(new RedisStore(std::move(options), *target));
}

RedisStore::RedisStore(RedisOptions options, const Target& target)
    : options_(std::move(options)),
      client_(Client::Make(
          target, {WithKeysMax(options_.keys_max, "0", kSetIfNewerLua), kUnlinkIfNotNewerLua,
                   kUnlinkIfHoldsLua, kUnlinkIfTextLua, kInvalidateTagLua})) {}

Status RedisStore::Ping(Deadline deadline) {
  const auto pong = client_->Run("ping", {{"PING"}}, deadline);
  return pong.ok() ? Status() : Status(pong.error());
}

// Removing a key that never exists is a write: it shows a replica and a missing right before the
// first row does.
Status RedisStore::Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                           Deadline deadline) {
  client_->Claim(fence);
  if (Status planned = Plan(mappings); !planned.ok()) return planned;
  // What another leader wrote meanwhile may lie behind an old cursor.
  if (std::exchange(epoch_, fence.epoch) != fence.epoch) passes_.clear();
  const std::string probe = options_.key_prefix + "_apex_probe";
  Commands commands{{"PING"}};
  commands.Add({"UNLINK", probe}, kFirstKey);
  // Something else under its name would refuse every event.
  if (!options_.stream.empty()) commands.Add({"XLEN", options_.stream}, kFirstKey);
  if (options_.keys_max > 0) commands.Add({"DBSIZE"});
  const auto replies = client_->Run("prepare", commands, deadline);
  return replies.ok() ? Status() : Status(replies.error());
}

// No client has the last of all ids, so that ending it only shows whether it would be allowed.
Status RedisStore::Examine(std::span<const MappingPtr> mappings, Deadline deadline) {
  if (Status planned = Plan(mappings); !planned.ok()) return planned;
  const std::string probe = options_.key_prefix + "_apex_probe";
  Commands commands{{"PING"},
                    {"CLIENT", "SETNAME", "apex:doctor"},
                    {"CLIENT", "LIST", "TYPE", "normal"},
                    {"CLIENT", "KILL", "ID", "9223372036854775807"}};
  commands.Add({"UNLINK", probe}, kFirstKey);
  if (options_.keys_max > 0) commands.Add({"DBSIZE"});
  const auto replies = client_->Run("ping", commands, deadline);
  return replies.ok() ? Status() : Status(replies.error());
}

Status RedisStore::Evict(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) {
  client_->Claim(fence);
  std::vector<std::string> keys;
  std::vector<std::string> tags;
  for (const RowWrite& row : rows) {
    if (row.newest->op == Operation::kTruncate) {
      if (Status evicted = EvictTable(*row.newest, deadline); !evicted.ok()) return evicted;
    }
    if (row.newest->op == Operation::kInvalidate) {
      Work work;
      if (Status gathered = GatherManual(row, work); !gathered.ok()) return gathered;
      std::ranges::move(work.invalidations.keys, std::back_inserter(keys));
      std::ranges::move(work.invalidations.tags, std::back_inserter(tags));
      continue;
    }
    Status gathered =
        ForEachImage(row, image_, [&](const MappingPtr& mapping, const Image& image) -> Status {
          Result<const CachePlan*> plan = PlanOf(mapping);
          if (!plan.ok()) return plan.error();
          if (auto entry = (*plan)->Entry(image)) keys.push_back(*std::move(entry));
          (*plan)->AddKeys(image, keys);
          (*plan)->AddTags(image, tags);
          return {};
        });
    if (!gathered.ok()) return gathered;
  }
  if (!keys.empty()) {
    Commands commands;
    AppendInvalidations(keys, client_->has_slots(), commands);
    if (auto replies = client_->Run("evict", commands, deadline); !replies.ok())
      return replies.error();
  }
  return InvalidateTags("evict", std::move(tags), deadline);
}

Status RedisStore::Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) {
  client_->Claim(fence);
  Work work;
  for (const RowWrite& row : rows) {
    if (Status gathered = GatherWrite(row, work); !gathered.ok()) return gathered;
  }
  return Carry("write", std::move(work), deadline);
}

Status RedisStore::Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) {
  client_->Claim(fence);
  Work work;
  for (const RowUndo& row : rows) {
    if (Status gathered = GatherUndo(row, work); !gathered.ok()) return gathered;
  }
  return Carry("undo", std::move(work), deadline);
}

Status RedisStore::Plan(std::span<const MappingPtr> mappings) {
  if (client_->has_slots() && !LeaseIsBeside(options_.key_prefix)) {
    return ClientError("configure", ErrorKind::kPermanent, kBadMapping,
                       "on Redis Cluster redis.key_prefix cannot have a } without a hash tag: a "
                       "key and its lease would lie in different slots");
  }
  for (const MappingPtr& mapping : mappings) {
    if (!mapping->cache) continue;
    if (auto plan = PlanOf(mapping); !plan.ok()) return plan.error();
    const bool in_one_slot = SlotOf(TagKey(options_.key_prefix, mapping->table)) ==
                             SlotOf(JournalKey(options_.key_prefix));
    if (!mapping->cache->tags.empty() && client_->has_slots() && !in_one_slot) {
      return ClientError("configure", ErrorKind::kPermanent, kBadMapping,
                         fmt::format("table {}: tags on Redis Cluster need a redis.key_prefix with "
                                     "a hash tag, such as {{app}}:",
                                     mapping->table));
    }
  }
  return {};
}

Result<const CachePlan*> RedisStore::PlanOf(const MappingPtr& mapping) {
  const auto known = plans_.find(mapping.get());
  if (known != plans_.end()) return &known->second;
  Result<CachePlan> compiled = CachePlan::Compile(mapping, options_.key_prefix);
  if (!compiled.ok()) return compiled.error();
  if (plans_.size() >= kPlansMax) plans_.clear();
  return &plans_.emplace(mapping.get(), *std::move(compiled)).first->second;
}

void RedisStore::Invoke(Script script, std::string_view key,
                        std::initializer_list<std::string_view> arguments, Commands& out) const {
  out.Begin(4 + arguments.size(), kScriptKey);
  for (const std::string_view each :
       {std::string_view("EVALSHA"), std::string_view(client_->ScriptDigest(script)),
        std::string_view("1"), key}) {
    out.Argument(each);
  }
  for (const std::string_view argument : arguments) out.Argument(argument);
}

Status RedisStore::GatherManual(const RowWrite& row, Work& work) const {
  for (const ChangePtr& change : row.changes) {
    auto read = ReadManualInvalidation(options_.key_prefix, change->after.value_or(""));
    if (!read) return BadImage(change->row, *change->mapping);
    std::ranges::move(read->invalidations.keys, std::back_inserter(work.invalidations.keys));
    std::ranges::move(read->invalidations.patterns,
                      std::back_inserter(work.invalidations.patterns));
    std::ranges::move(read->invalidations.tags, std::back_inserter(work.invalidations.tags));
    if (!read->event.empty())
      Announce(EventMessage(read->document_id, read->event, work.time), work.events);
  }
  return {};
}

Status RedisStore::GatherWrite(const RowWrite& row, Work& work) {
  const Change& newest = *row.newest;
  if (newest.op == Operation::kInvalidate) return GatherManual(row, work);
  std::vector<std::string> entries;
  Status gathered =
      ForEachImage(row, image_, [&](const MappingPtr& mapping, const Image& image) -> Status {
        Result<const CachePlan*> plan = PlanOf(mapping);
        if (!plan.ok()) return plan.error();
        (*plan)->AddInvalidations(image, work.invalidations);
        (*plan)->AddTags(image, work.invalidations.tags);
        if (auto entry = (*plan)->Entry(image)) AddOnce(*std::move(entry), entries);
        return {};
      });
  if (!gathered.ok()) return gathered;
  if (!newest.mapping->cache) {
    std::ranges::move(entries, std::back_inserter(work.invalidations.keys));
    return {};
  }

  Result<const CachePlan*> found = PlanOf(newest.mapping);
  if (!found.ok()) return found.error();
  const CachePlan& plan = **found;
  const bool deleted = newest.op == Operation::kDelete || !newest.after;
  if (!plan.writes_entries()) {
    std::ranges::move(entries, std::back_inserter(work.invalidations.keys));
  } else {
    const std::string seq = std::to_string(row.seq);
    const Lifetime lifetime = plan.LifetimeOf(image_, NowUs());
    std::optional<std::string> written =
        deleted || lifetime.over ? std::nullopt : plan.Entry(image_);
    if (written) {
      Result<std::string> value = plan.Value(row.seq, newest.row, image_);
      if (!value.ok()) return value.error();
      const auto ttl = lifetime.seconds;
      Invoke(kSetIfNewer, *written, {seq, *value, ttl ? std::to_string(*ttl) : ""}, work.scripts);
    }
    // Names the row has had before: another row may have taken one over since, with a newer
    // version.
    for (const std::string& entry : entries) {
      if (entry != written) Invoke(kUnlinkIfNotNewer, entry, {seq}, work.scripts);
    }
  }
  GatherEvents(*newest.mapping, newest.row, deleted, work);
  return {};
}

Status RedisStore::GatherUndo(const RowUndo& row, Work& work) {
  // An invalidation by hand is about no row: there is nothing to put back.
  if (!row.mapping->cache || row.row.key.starts_with("[null,")) return {};
  Result<const CachePlan*> found = PlanOf(row.mapping);
  if (!found.ok()) return found.error();
  const CachePlan& plan = **found;
  std::vector<std::string> entries;
  std::vector<std::string> images = row.images;
  if (row.accepted) images.push_back(*row.accepted);
  for (const std::string& text : images) {
    if (!image_.Read(text)) return BadImage(row.row, *row.mapping);
    plan.AddInvalidations(image_, work.invalidations);
    plan.AddTags(image_, work.invalidations.tags);
    if (auto entry = plan.Entry(image_)) AddOnce(*std::move(entry), entries);
  }
  if (plan.writes_entries()) {
    const std::string seq = std::to_string(row.failed_seq);
    for (const std::string& entry : entries) Invoke(kUnlinkIfHolds, entry, {seq}, work.scripts);
  } else {
    std::ranges::move(entries, std::back_inserter(work.invalidations.keys));
  }
  // Subscribers may have read the failed version in the meantime.
  GatherEvents(*row.mapping, row.row, !row.accepted, work);
  return {};
}

void RedisStore::GatherEvents(const TableMapping& mapping, const RowId& row, bool deleted,
                              Work& work) const {
  for (const std::string& event : mapping.cache->events) {
    const std::string name = event + (deleted ? "_deleted" : "_updated");
    Announce(EventMessage(row, name, work.time), work.events);
  }
}

/// Kept before it is told: who hears of it finds it there.
void RedisStore::Announce(const std::string& message, Commands& events) const {
  if (!options_.stream.empty())
    events.Add({"XADD", options_.stream, "MAXLEN", "~", kStreamEventsMax, "*", "event", message},
               kFirstKey);
  events.Add({"PUBLISH", options_.channel, message});
}

Status RedisStore::Carry(std::string_view operation, Work work, Deadline deadline) {
  // The keys go first, so that a row's own entry, named among them by mistake, is written and not
  // removed.
  work.invalidations.Unite();
  Commands commands;
  AppendInvalidations(work.invalidations.keys, client_->has_slots(), commands);
  commands.Append(work.scripts);
  if (!commands.empty()) {
    if (auto replies = client_->Run(operation, commands, deadline); !replies.ok())
      return replies.error();
  }
  if (Status unlinked = InvalidateTags(operation, std::move(work.invalidations.tags), deadline);
      !unlinked.ok())
    return unlinked;
  if (Status unlinked = UnlinkMatches(operation, work.invalidations.patterns, deadline);
      !unlinked.ok())
    return unlinked;
  if (work.events.empty()) return {};
  auto published = client_->Run(operation, work.events, deadline);
  return published.ok() ? Status() : Status(published.error());
}

Status RedisStore::InvalidateTags(std::string_view operation, std::vector<std::string> tags,
                                  Deadline deadline) {
  std::ranges::sort(tags);
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  const std::string journal = JournalKey(options_.key_prefix);
  const std::string most = std::to_string(kKeysPerTagCall);
  while (!tags.empty()) {
    Commands commands;
    for (const std::string& tag : tags) {
      commands.Add({"EVALSHA", client_->ScriptDigest(kInvalidateTag), "2",
                    TagKey(options_.key_prefix, tag), journal, tag, most},
                   kScriptKey);
    }
    auto replies = client_->Run(operation, commands, deadline);
    if (!replies.ok()) return replies.error();
    std::vector<std::string> unfinished;
    for (size_t i = 0; i < tags.size(); ++i) {
      if ((*replies)[i].integer >= kKeysPerTagCall) unfinished.push_back(std::move(tags[i]));
    }
    tags = std::move(unfinished);
    if (tags.empty()) break;
    if (Status given_way = GiveWay(); !given_way.ok()) return given_way;
  }
  return {};
}

Status RedisStore::UnlinkMatches(std::string_view operation,
                                 const std::vector<std::string>& patterns, Deadline deadline) {
  passing_ = {};
  if (patterns.empty()) return {};
  const auto start = Deadline::Clock::now();
  const PatternSet set(patterns);
  Interrupted at{.patterns = patterns};
  if (interrupted_.patterns == patterns) at = std::move(interrupted_);
  interrupted_ = {};
  const auto stop = [&](const StoreError& error) {
    // Only after a timeout: another failure may mean another server, where the cursor says nothing.
    if (error.native_code == kTimeout) interrupted_ = std::move(at);
    return error;
  };
  while (!at.pass.over || !at.found.empty()) {
    if (Status given_way = GiveWay(); !given_way.ok()) return given_way;
    if (!at.pass.over && at.found.size() < kFoundMax) {
      auto keys = client_->Scan(operation, set, at.pass, deadline);
      if (!keys.ok()) return stop(keys.error());
      std::ranges::move(*keys, std::back_inserter(at.found));
      continue;
    }
    if (Status unlinked = Unlink(operation, at.found, deadline); !unlinked.ok())
      return stop(unlinked.error());
    at.found.clear();
  }
  passing_ = std::chrono::duration_cast<std::chrono::microseconds>(Deadline::Clock::now() - start);
  return {};
}

Status RedisStore::Unlink(std::string_view operation, const std::vector<std::string>& keys,
                          Deadline deadline) {
  if (keys.empty()) return {};
  Commands unlinks;
  AppendUnlinks(keys, client_->has_slots(), unlinks);
  const auto unlinked = client_->Run(operation, unlinks, deadline);
  return unlinked.ok() ? Status() : Status(unlinked.error());
}

}  // namespace apex::redis
