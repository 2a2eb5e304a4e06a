#include "cache/read_through.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

namespace apex::cache {
namespace {

using std::chrono::milliseconds;

/// A cache that takes longer is not used, and the row read where it is true.
constexpr milliseconds kRedisPatience{500};
constexpr milliseconds kPostgresPatience{5000};
/// How long a reader may go by a mapping that has been altered.
constexpr milliseconds kMappingsKept{1000};
/// Entries that only readers fill, of mappings without a time to live.
constexpr milliseconds kFilledToLive{3600 * 1000};

/// Rows that are brought back when Redis has lost everything.
constexpr size_t kMostRead = 1000;

constexpr size_t kUuidDigits = 32;

/// Written by the sidecar or by a reader; anything else under the key is an application's own.
bool IsOurs(std::string_view value) { return value.starts_with(R"({"_apex_seq":)"); }

std::optional<std::string> CanonicalInt(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  if (text.empty() || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size() - 1));
  constexpr size_t kDigitsMax = 19;
  if (text.size() > kDigitsMax) return std::nullopt;
  return (negative && text != "0" ? "-" : "") + std::string(text);
}

std::optional<std::string> CanonicalUuid(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c == '-' || c == '{' || c == '}') continue;
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return std::nullopt;
    digits += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (digits.size() != kUuidDigits) return std::nullopt;
  for (const size_t at : {20, 16, 12, 8}) digits.insert(at, 1, '-');
  return digits;
}

/// What is no UTF-8 is replaced, and names no row then.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// `values` are canonical. As the outbox writes a key: integers as numbers, everything else as
/// text.
std::string JsonKey(const TableMapping& mapping, const std::vector<std::string>& values) {
  std::string json = "[";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) json += ',';
    json += mapping.key[i].kind == ColumnKind::kInt ? values[i] : Quoted(values[i]);
  }
  return json + "]";
}

/// An object of the key's columns, from which the entry's name is made.
std::string KeyImage(const TableMapping& mapping, const std::vector<std::string>& values) {
  std::string image = "{";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) image += ',';
    image += Quoted(mapping.key[i].name) + ":" + Quoted(values[i]);
  }
  return image + "}";
}

bool HoldsEveryColumn(const TableMapping& mapping, const redis::Image& image) {
  return std::ranges::all_of(mapping.cache->columns, [&](const std::string& column) {
    return image.Find(column).has_value();
  });
}

std::optional<milliseconds> ToLive(const redis::CachePlan& plan, const redis::Lifetime& lifetime) {
  if (lifetime.seconds) return milliseconds(*lifetime.seconds * 1000);
  if (plan.writes_entries()) return std::nullopt;
  return kFilledToLive;
}

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Deadline ByRedis() { return Deadline::After(kRedisPatience); }

Answer Found(Answer::Source source, std::string value) {
  return {Answer::Kind::kFound, source, std::move(value)};
}

Answer NoSuchRow(Answer::Source source) {
  return {Answer::Kind::kNoSuchRow, source, "there is no such row"};
}

Answer Unavailable(const StoreError& error) {
  return {Answer::Kind::kUnavailable, Answer::Source::kNone, Describe(error)};
}

}  // namespace

struct ReadThrough::Asked {
  const Table& table;
  std::string key;    ///< JSON
  std::string entry;  ///< The name in Redis.
};

std::optional<std::vector<std::string>> CanonicalKey(const TableMapping& mapping,
                                                     const std::vector<std::string>& key) {
  if (key.size() != mapping.key.size()) return std::nullopt;
  std::vector<std::string> canonical;
  for (size_t i = 0; i < key.size(); ++i) {
    const Column& column = mapping.key[i];
    std::optional<std::string> value = key[i];
    if (column.kind == ColumnKind::kInt && !column.is_array) value = CanonicalInt(key[i]);
    if (column.kind == ColumnKind::kUuid && !column.is_array) value = CanonicalUuid(key[i]);
    if (!value) return std::nullopt;
    canonical.push_back(*std::move(value));
  }
  return canonical;
}

ReadThrough::ReadThrough(ReadThroughOptions options, redis::CacheEntries& entries,
                         postgres::RowLookup& rows, Metrics& metrics)
    : options_(std::move(options)),
      entries_(entries),
      rows_(rows),
      metrics_(metrics),
      most_read_(kMostRead) {}

Answer ReadThrough::Get(const std::string& entity, const std::vector<std::string>& key) {
  Answer answer = Find(entity, key);
  switch (answer.source) {
    case Answer::Source::kHit: metrics_.CacheRead("hit"); break;
    case Answer::Source::kMiss: metrics_.CacheRead("miss"); break;
    case Answer::Source::kBypass: metrics_.CacheRead("bypass"); break;
    case Answer::Source::kNone: break;
  }
  if (answer.kind == Answer::Kind::kUnavailable) metrics_.CacheRead("error");
  if (answer.kind == Answer::Kind::kFound) most_read_.Count(entity, key);
  return answer;
}

Answer ReadThrough::Find(const std::string& entity, const std::vector<std::string>& key) {
  auto tables = KnownTables();
  if (!tables.ok()) return Unavailable(tables.error());
  const auto found = (*tables)->find(entity);
  if (found == (*tables)->end()) {
    return {Answer::Kind::kNoSuchEntity, Answer::Source::kNone,
            fmt::format("no attached table has the cache entity {}", entity)};
  }
  const Table& table = found->second;
  const auto canonical = CanonicalKey(*table.mapping, key);
  redis::Image image;
  const bool readable = canonical && image.Read(KeyImage(*table.mapping, *canonical));
  if (!readable) {
    return {Answer::Kind::kBadKey, Answer::Source::kNone,
            fmt::format("this is no key of {}", table.mapping->table)};
  }
  const std::optional<std::string> entry = table.plan.Entry(image);
  if (!entry) {
    return {Answer::Kind::kBadKey, Answer::Source::kNone,
            fmt::format("entries of {} are named by more than the key", table.mapping->table)};
  }
  const Asked asked{table, JsonKey(*table.mapping, *canonical), *entry};
  auto value = entries_.Get(asked.entry, ByRedis());
  if (value.ok() && *value && IsOurs(**value))
    return Found(Answer::Source::kHit, **std::move(value));
  return Join(asked);
}

/// One reader looks for mappings that have been altered, and the others go on with what is known:
/// Redis answers for what it holds while PostgreSQL is away.
Result<std::shared_ptr<const ReadThrough::Tables>> ReadThrough::KnownTables() {
  {
    const std::lock_guard lock(tables_mutex_);
    const auto now = Deadline::Clock::now();
    if (tables_ && now < look_again_at_) return tables_;
    look_again_at_ = now + kPostgresPatience;
  }
  Result<std::shared_ptr<const Tables>> loaded = LoadTables();
  const std::lock_guard lock(tables_mutex_);
  look_again_at_ = Deadline::Clock::now() + kMappingsKept;
  if (loaded.ok()) tables_ = *loaded;
  if (!tables_) return loaded.error();
  return tables_;
}

Result<std::shared_ptr<const ReadThrough::Tables>> ReadThrough::LoadTables() {
  Result<std::vector<TableMapping>> mappings =
      rows_.LoadMappings(Deadline::After(kPostgresPatience));
  if (!mappings.ok()) return mappings.error();
  auto tables = std::make_shared<Tables>();
  for (TableMapping& each : *mappings) {
    const bool has_entries = each.active && each.pipeline == options_.pipeline && each.cache &&
                             !each.cache->entry.empty();
    if (!has_entries) continue;
    auto mapping = std::make_shared<const TableMapping>(std::move(each));
    auto plan = redis::CachePlan::Compile(mapping, entries_.key_prefix());
    if (!plan.ok()) continue;  // Nothing of it is written either; the store names it.
    tables->emplace(mapping->cache->entity, Table{mapping, *std::move(plan)});
  }
  return std::shared_ptr<const Tables>(std::move(tables));
}

Answer ReadThrough::Join(const Asked& asked) {
  std::shared_ptr<Flight> flight;
  bool leads = false;
  {
    const std::lock_guard lock(flights_mutex_);
    std::shared_ptr<Flight>& known = flights_[asked.entry];
    leads = !known;
    if (leads) known = std::make_shared<Flight>();
    flight = known;
  }
  if (leads) {
    Answer answer = LookOrRead(asked);
    {
      const std::lock_guard lock(flights_mutex_);
      flights_.erase(asked.entry);
    }
    const std::lock_guard lock(flight->mutex);
    flight->answer = answer;
    flight->landed.notify_all();
    return answer;
  }
  std::unique_lock lock(flight->mutex);
  const bool landed = flight->landed.wait_for(lock, kRedisPatience + kPostgresPatience,
                                              [&] { return flight->answer.has_value(); });
  if (landed) return *flight->answer;
  return {Answer::Kind::kUnavailable, Answer::Source::kNone, "the row was not read in time"};
}

/// Looks once more first: the last flight may have landed since this reader missed.
Answer ReadThrough::LookOrRead(const Asked& asked) {
  auto looked = entries_.GetOrLease(asked.entry, ByRedis());
  if (!looked.ok()) return ReadRow(asked, std::nullopt);
  switch (looked->kind) {
    case redis::Looked::Kind::kNone: return NoSuchRow(Answer::Source::kHit);
    case redis::Looked::Kind::kLease: return ReadRow(asked, looked->text);
    case redis::Looked::Kind::kFull: return ReadRow(asked, std::nullopt);
    case redis::Looked::Kind::kValue: break;
  }
  if (IsOurs(looked->text)) return Found(Answer::Source::kHit, std::move(looked->text));
  return ReadRow(asked, std::nullopt);
}

Answer ReadThrough::ReadRow(const Asked& asked, const std::optional<std::string>& lease) {
  const auto source = lease ? Answer::Source::kMiss : Answer::Source::kBypass;
  const TableMapping& mapping = *asked.table.mapping;
  auto row = rows_.Find(mapping, asked.key, Deadline::After(kPostgresPatience));
  if (!row.ok()) {
    // Of class 22 is what PostgreSQL says to a text that can be no key.
    if (row.error().native_code.starts_with("22")) return NoSuchRow(source);
    return Unavailable(row.error());
  }
  if (!row->error.empty()) return {Answer::Kind::kUnavailable, Answer::Source::kNone, row->error};
  if (!row->image) {
    if (lease) Remember(entries_.FillNone(asked.entry, *lease, options_.negative_ttl, ByRedis()));
    return NoSuchRow(source);
  }
  redis::Image image;
  if (!image.Read(*row->image) || !HoldsEveryColumn(mapping, image)) {
    return {Answer::Kind::kUnavailable, Answer::Source::kNone,
            fmt::format("the mapping of {} has just been altered", mapping.table)};
  }
  auto value = asked.table.plan.Value(row->version, {mapping.relation, asked.key}, image);
  if (!value.ok()) return Unavailable(value.error());
  const redis::CachePlan& plan = asked.table.plan;
  const redis::Lifetime lifetime = plan.LifetimeOf(image, NowUs());
  // Spelled otherwise than the row's own key, it has an entry of another name.
  if (lease && !lifetime.over && plan.Entry(image) == asked.entry) {
    Remember(entries_.Fill(asked.entry, *lease, *value, ToLive(plan, lifetime), ByRedis()));
  }
  return Found(source, *std::move(value));
}

/// A fill that failed leaves a miss behind; nobody is told.
void ReadThrough::Remember(const Result<bool>& filled) {
  if (filled.ok()) metrics_.CacheFilled(*filled);
}

}  // namespace apex::cache
