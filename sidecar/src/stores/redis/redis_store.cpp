#include "stores/redis/redis_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "core/uri.h"
#include "stores/redis/error.h"
#include "stores/redis/glob.h"

namespace apex::redis {
namespace {

constexpr uint16_t kDefaultPort = 6379;
constexpr size_t kKeysPerUnlink = 100;
/// Keys Redis looks at in one SCAN call: it serves nobody else meanwhile, about a quarter of a
/// millisecond.
constexpr const char* kScanCount = "1000";
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

std::optional<Target> ParseTarget(const RedisOptions& options) {
  const auto uri = ParseUri(options.uri);
  if (!uri || uri->scheme != "redis") return std::nullopt;
  Target target{
      .host = uri->host,
      .port = uri->port.value_or(kDefaultPort),
      .user = uri->user.value_or(""),
      .password = options.password.empty() ? uri->password.value_or("") : options.password};
  if (uri->path.size() > 1) {
    const char* const end = uri->path.data() + uri->path.size();
    const auto [at, error] = std::from_chars(uri->path.data() + 1, end, target.database);
    if (error != std::errc() || at != end || target.database < 0) return std::nullopt;
  }
  return target;
}

void AppendUnlinks(const std::vector<std::string>& keys, std::vector<Command>& commands) {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i % kKeysPerUnlink == 0) commands.push_back({"UNLINK"});
    commands.back().push_back(keys[i]);
  }
}

/// Every image of the row's coalesced changes, each with the mapping it was captured under.
template <typename Visit>
Status ForEachImage(const RowWrite& row, Visit visit) {
  for (const ChangePtr& change : row.changes) {
    for (const auto* text : {&change->before, &change->after}) {
      if (!*text || !change->mapping->cache) continue;
      const auto image = Image::Parse(**text);
      if (!image) return BadImage(change->row, *change->mapping);
      if (Status visited = visit(change->mapping, *image); !visited.ok()) return visited;
    }
  }
  return {};
}

}  // namespace

struct RedisStore::Work {
  Invalidations invalidations;
  std::vector<Command> scripts;
  std::vector<Command> events;
};

Result<std::unique_ptr<RedisStore>> RedisStore::Create(RedisOptions options) {
  const auto refuse = [](const char* why) {
    return ClientError("configure", ErrorKind::kPermanent, "apex.config", why);
  };
  if (options.uri.starts_with("rediss:")) {
    return refuse(
        "rediss:// needs TLS, which the Redis client of this build does not have; use redis://");
  }
  std::optional<Target> target = ParseTarget(options);
  if (!target)
    return refuse("the uri is not of the form redis://[user[:password]@]host[:port][/database]");
  return std::unique_ptr<RedisStore>(new RedisStore(std::move(options), std::move(*target)));
}

RedisStore::RedisStore(RedisOptions options, Target target)
    : options_(std::move(options)),
      connection_(std::move(target), {kSetIfNewerLua, kUnlinkIfNotNewerLua, kUnlinkIfHoldsLua}) {}

Status RedisStore::Ping(Deadline deadline) {
  const Command ping{"PING"};
  const auto pong = connection_.Run("ping", {&ping, 1}, deadline);
  return pong.ok() ? Status() : Status(pong.error());
}

// Removing a key that never exists is a write: it shows a replica and a missing right before the
// first row does.
Status RedisStore::Prepare(const Fence&, std::span<const MappingPtr> mappings, Deadline deadline) {
  for (const MappingPtr& mapping : mappings) {
    if (!mapping->cache) continue;
    if (auto plan = PlanOf(mapping); !plan.ok()) return plan.error();
  }
  const std::vector<Command> commands{{"PING"}, {"UNLINK", options_.key_prefix + "_apex_probe"}};
  const auto replies = connection_.Run("prepare", commands, deadline);
  return replies.ok() ? Status() : Status(replies.error());
}

Status RedisStore::Evict(std::span<const RowWrite> rows, Deadline deadline) {
  std::set<std::string> entries;
  for (const RowWrite& row : rows) {
    Status gathered =
        ForEachImage(row, [&](const MappingPtr& mapping, const Image& image) -> Status {
          Result<const CachePlan*> plan = PlanOf(mapping);
          if (!plan.ok()) return plan.error();
          if (auto entry = (*plan)->Entry(image)) entries.insert(*std::move(entry));
          return {};
        });
    if (!gathered.ok()) return gathered;
  }
  if (entries.empty()) return {};
  std::vector<Command> commands;
  AppendUnlinks({entries.begin(), entries.end()}, commands);
  const auto replies = connection_.Run("evict", commands, deadline);
  return replies.ok() ? Status() : Status(replies.error());
}

Status RedisStore::Write(const Fence&, std::span<const RowWrite> rows, Deadline deadline) {
  Work work;
  for (const RowWrite& row : rows) {
    if (Status gathered = GatherWrite(row, work); !gathered.ok()) return gathered;
  }
  return Carry("write", std::move(work), deadline);
}

Status RedisStore::Undo(const Fence&, std::span<const RowUndo> rows, Deadline deadline) {
  Work work;
  for (const RowUndo& row : rows) {
    if (Status gathered = GatherUndo(row, work); !gathered.ok()) return gathered;
  }
  return Carry("undo", std::move(work), deadline);
}

Result<const CachePlan*> RedisStore::PlanOf(const MappingPtr& mapping) {
  const auto known = plans_.find(mapping.get());
  if (known != plans_.end()) return &known->second;
  Result<CachePlan> compiled = CachePlan::Compile(mapping, options_.key_prefix);
  if (!compiled.ok()) return compiled.error();
  if (plans_.size() >= kPlansMax) plans_.clear();
  return &plans_.emplace(mapping.get(), *std::move(compiled)).first->second;
}

Command RedisStore::Invoke(Script script, const std::string& key,
                           std::vector<std::string> arguments) const {
  Command command{"EVALSHA", connection_.ScriptDigest(script), "1", key};
  std::ranges::move(arguments, std::back_inserter(command));
  return command;
}

Status RedisStore::GatherWrite(const RowWrite& row, Work& work) {
  const Change& newest = *row.newest;
  std::set<std::string> entries;
  Status gathered = ForEachImage(row, [&](const MappingPtr& mapping, const Image& image) -> Status {
    Result<const CachePlan*> plan = PlanOf(mapping);
    if (!plan.ok()) return plan.error();
    (*plan)->AddInvalidations(image, work.invalidations);
    if (auto entry = (*plan)->Entry(image)) entries.insert(*std::move(entry));
    return {};
  });
  if (!gathered.ok()) return gathered;
  if (!newest.mapping->cache) {
    work.invalidations.keys.merge(entries);
    return {};
  }

  Result<const CachePlan*> found = PlanOf(newest.mapping);
  if (!found.ok()) return found.error();
  const CachePlan& plan = **found;
  const bool deleted = newest.op == Operation::kDelete || !newest.after;
  if (!plan.writes_entries()) {
    work.invalidations.keys.merge(entries);
  } else {
    std::optional<std::string> written;
    if (!deleted) {
      const auto image = Image::Parse(*newest.after);
      if (!image) return BadImage(newest.row, *newest.mapping);
      if ((written = plan.Entry(*image))) {
        Result<std::string> value = plan.Value(row.seq, newest.row, *image);
        if (!value.ok()) return value.error();
        const auto ttl = plan.cache().ttl_seconds;
        work.scripts.push_back(
            Invoke(kSetIfNewer, *written,
                   {std::to_string(row.seq), *std::move(value), ttl ? std::to_string(*ttl) : ""}));
      }
    }
    // Names the row has had before: another row may have taken one over since, with a newer
    // version.
    for (const std::string& entry : entries) {
      if (entry != written)
        work.scripts.push_back(Invoke(kUnlinkIfNotNewer, entry, {std::to_string(row.seq)}));
    }
  }
  GatherEvents(*newest.mapping, newest.row, deleted, work);
  return {};
}

Status RedisStore::GatherUndo(const RowUndo& row, Work& work) {
  if (!row.mapping->cache) return {};
  Result<const CachePlan*> found = PlanOf(row.mapping);
  if (!found.ok()) return found.error();
  const CachePlan& plan = **found;
  std::set<std::string> entries;
  std::vector<std::string> images = row.images;
  if (row.accepted) images.push_back(*row.accepted);
  for (const std::string& text : images) {
    const auto image = Image::Parse(text);
    if (!image) return BadImage(row.row, *row.mapping);
    plan.AddInvalidations(*image, work.invalidations);
    if (auto entry = plan.Entry(*image)) entries.insert(*std::move(entry));
  }
  if (plan.writes_entries()) {
    for (const std::string& entry : entries) {
      work.scripts.push_back(Invoke(kUnlinkIfHolds, entry, {std::to_string(row.failed_seq)}));
    }
  } else {
    work.invalidations.keys.merge(entries);
  }
  // Subscribers may have read the failed version in the meantime.
  GatherEvents(*row.mapping, row.row, !row.accepted, work);
  return {};
}

void RedisStore::GatherEvents(const TableMapping& mapping, const RowId& row, bool deleted,
                              Work& work) const {
  for (const std::string& event : mapping.cache->events) {
    const std::string name = event + (deleted ? "_deleted" : "_updated");
    work.events.push_back({"PUBLISH", options_.channel, EventMessage(row, name, NowUs())});
  }
}

Status RedisStore::Carry(std::string_view operation, Work work, Deadline deadline) {
  // The keys go first, so that a row's own entry, named among them by mistake, is written and not
  // removed.
  std::vector<Command> commands;
  const auto& keys = work.invalidations.keys;
  AppendUnlinks({keys.begin(), keys.end()}, commands);
  std::ranges::move(work.scripts, std::back_inserter(commands));
  if (!commands.empty()) {
    if (auto replies = connection_.Run(operation, commands, deadline); !replies.ok())
      return replies.error();
  }
  if (Status unlinked = UnlinkMatches(operation, work.invalidations.patterns, deadline);
      !unlinked.ok())
    return unlinked;
  if (work.events.empty()) return {};
  auto published = connection_.Run(operation, work.events, deadline);
  return published.ok() ? Status() : Status(published.error());
}

Status RedisStore::UnlinkMatches(std::string_view operation, const std::set<std::string>& patterns,
                                 Deadline deadline) {
  if (patterns.empty()) return {};
  const PatternSet set({patterns.begin(), patterns.end()});
  std::string cursor = patterns == interrupted_.patterns ? interrupted_.cursor : "0";
  interrupted_ = {};
  do {
    Result<std::string> next = UnlinkPage(operation, set, cursor, deadline);
    if (!next.ok()) {
      // Only after a timeout: another failure may mean another server, where the cursor says
      // nothing.
      if (next.error().native_code == kTimeout) interrupted_ = {patterns, cursor};
      return next.error();
    }
    cursor = *std::move(next);
  } while (cursor != "0");
  return {};
}

Result<std::string> RedisStore::UnlinkPage(std::string_view operation, const PatternSet& patterns,
                                           const std::string& cursor, Deadline deadline) {
  const Command scan{"SCAN", cursor, "MATCH", patterns.ScanPattern(), "COUNT", kScanCount};
  auto page = connection_.Run(operation, {&scan, 1}, deadline);
  if (!page.ok()) return page.error();
  const std::vector<Reply>& parts = page->front().elements;
  if (parts.size() != 2) {
    return ClientError(operation, ErrorKind::kUnknownOutcome, "apex.protocol",
                       "SCAN answered without a cursor");
  }
  std::vector<std::string> matches;
  for (const Reply& key : parts[1].elements) {
    if (patterns.Matches(key.text)) matches.push_back(key.text);
  }
  std::vector<Command> unlinks;
  AppendUnlinks(matches, unlinks);
  if (!unlinks.empty()) {
    if (auto unlinked = connection_.Run(operation, unlinks, deadline); !unlinked.ok()) {
      return unlinked.error();
    }
  }
  return parts[0].text;
}

}  // namespace apex::redis
