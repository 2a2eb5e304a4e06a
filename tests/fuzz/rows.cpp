// An outbox row with anything in it: its key, its image and its embedding, as each store reads
// them.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/change.h"
#include "qdrant.pb.h"
#include "stores/neo4j/graph_plan.h"
#include "stores/neo4j/image.h"
#include "stores/postgres/changes.h"
#include "stores/qdrant/encode.h"
#include "stores/redis/cache_plan.h"
#include "stores/redis/glob.h"

namespace {

/// One column of each kind, alone and as an array, named a0, b0, ... and a1, b1, ... An entry lives
/// as long as `ttl_column` says.
apex::MappingPtr EveryKind(std::string ttl_column) {
  auto mapping = std::make_shared<apex::TableMapping>();
  mapping->table = "public.t";
  mapping->key = {{"id", apex::ColumnKind::kUuid}};
  mapping->vector.emplace();
  mapping->vector->embedding = "embedding";
  mapping->cache.emplace();
  mapping->cache->mode = apex::CacheMode::kWrite;
  mapping->cache->entry = "t:{id}";
  mapping->cache->invalidate = {"t:{f0}:x", "q:*{f0}*"};
  mapping->cache->tags = {"f:{f0}"};
  mapping->cache->ttl_column = std::move(ttl_column);
  mapping->columns = mapping->key;
  for (int kind = 0; kind <= static_cast<int>(apex::ColumnKind::kOther); ++kind) {
    for (const bool is_array : {false, true}) {
      const std::string name{static_cast<char>('a' + kind), is_array ? '1' : '0'};
      mapping->columns.push_back({name, static_cast<apex::ColumnKind>(kind), is_array});
      mapping->vector->payload.push_back(name);
      mapping->cache->columns.push_back(name);
    }
  }
  return mapping;
}

/// An invalidation by hand has a key that no row has, [null, ...], and its names for an image.
void Invalidate(std::string_view key, std::string_view text) {
  const auto read = apex::redis::ReadManualInvalidation("p:", text);
  if (!read) return;
  (void)apex::redis::PatternSet(read->invalidations.patterns).Matches(key);
  apex::redis::EventMessage(read->document_id, read->event, apex::redis::EventTime(0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const apex::MappingPtr mapping = EveryKind("i0");  // Until when.
  static apex::neo4j::ImageEncoder graph;
  static apex::qdrant::PointEncoder points;
  static const auto plan = apex::redis::CachePlan::Compile(mapping, "p:");
  static const auto for_seconds = apex::redis::CachePlan::Compile(EveryKind("b0"), "p:");
  static apex::redis::Image image;

  // Key, image and embedding, divided by zero bytes, which PostgreSQL's text cannot hold.
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view key = all.substr(0, all.find('\0'));
  const std::string_view rest = all.substr(std::min(key.size() + 1, all.size()));
  const std::string_view text = rest.substr(0, rest.find('\0'));
  // PostgreSQL's text is valid UTF-8, which an image's parser sees to and a key's need not.
  if (std::ranges::any_of(key, [](unsigned char c) { return c >= 0x80; })) return 0;
  auto change = std::make_shared<apex::Change>();
  change->mapping = mapping;
  change->row = {1, apex::postgres::CompactJson(key)};
  change->after = std::string(text);
  change->embedding = std::string(rest.substr(std::min(text.size() + 1, rest.size())));

  const apex::neo4j::RowName name{mapping->table, change->row.key};
  (void)graph.EncodeKey(change->row.key, mapping->key, name).ok();
  (void)graph.Encode(text, mapping->columns, name).ok();
  const auto operation = points.Write({1, change, {change}});
  if (operation.ok() &&
      !::qdrant::PointsUpdateOperation().ParseFromString(std::string(*operation))) {
    __builtin_trap();  // What was written cannot be read.
  }
  if (image.Read(text)) {
    apex::redis::Invalidations keys;
    plan->AddInvalidations(image, keys);
    plan->AddTags(image, keys.tags);
    (void)apex::redis::PatternSet(keys.patterns).Matches(key);
    (void)plan->LifetimeOf(image, 0);
    (void)for_seconds->LifetimeOf(image, 0);
    (void)plan->Entry(image);
    (void)plan->Value(1, change->row, image).ok();
  }
  // A truncation's key is [], which no row's is.
  const char* const event = change->row.IsTable() ? "document_truncated" : "document_updated";
  apex::redis::EventMessage(change->row, event, apex::redis::EventTime(0));
  if (key.starts_with("[null")) Invalidate(key, text);
  return 0;
}
