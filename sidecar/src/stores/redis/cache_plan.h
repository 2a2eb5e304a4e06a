// What a mapping's cache part means for Redis: names of keys, patterns, the cached value. No I/O.
//
// A CachePlan is compiled once per mapping, immutable and safe to share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/change.h"
#include "core/mapping.h"
#include "core/result.h"
#include "stores/redis/image.h"

namespace apex::redis {

/// "doc:{id}:chunks": literal text and columns of the image. With a glob character outside braces
/// it is a pattern.
class KeyTemplate {
 public:
  /// nullopt: a brace without its partner, or nothing between the two.
  static std::optional<KeyTemplate> Compile(std::string_view text);

  bool is_pattern() const { return is_pattern_; }
  std::vector<std::string> columns() const;

  /// The key or pattern for one image, after `prefix`. Values put into a pattern are escaped: an
  /// identifier `*` must not become one that matches everything. nullopt: a column is null or
  /// absent.
  std::optional<std::string> Render(std::string_view prefix, const Image& image) const;
  /// The glob pattern of all keys, or of all that is matched by a pattern, that Render could give
  /// for rows of this table.
  std::string Pattern(std::string_view prefix, const TableMapping& mapping) const;

 private:
  struct Piece {
    std::string literal;
    std::string column;  ///< Empty: only the literal.
  };

  std::vector<Piece> pieces_;
  bool is_pattern_ = false;
};

/// Keys, patterns and tags beside the rows' own entries. Tags are names without the prefix.
struct Invalidations {
  std::vector<std::string> keys;
  std::vector<std::string> patterns;
  std::vector<std::string> tags;

  /// Leaves each once, in order.
  void Unite();
};

/// What the rows of a table may have in the cache, whichever rows they are.
struct TableKeys {
  std::string entries;                ///< A pattern; empty: rows have no entry.
  bool versioned = false;             ///< The entries are written by us, with their version.
  std::vector<std::string> keys;      ///< Named in the same way by every row.
  std::vector<std::string> patterns;  ///< Of all other keys.
  std::vector<std::string> tags;      ///< That every row has.
  std::vector<std::string> tag_sets;  ///< Patterns of the sets of all other tags.
};

struct Lifetime {
  bool over = false;               ///< The row is not to be kept at all.
  std::optional<int64_t> seconds;  ///< nullopt: it does not expire.
};

class CachePlan {
 public:
  /// `mapping` must have a cache part. The error is permanent and names the template at fault.
  static Result<CachePlan> Compile(MappingPtr mapping, std::string key_prefix);

  const CacheMapping& cache() const { return *mapping_->cache; }
  bool writes_entries() const { return cache().mode == CacheMode::kWrite && entry_.has_value(); }

  std::optional<std::string> Entry(const Image& image) const;
  /// Where all entries are. The mapping writes entries.
  std::string EntryPattern() const { return entry_->Pattern(key_prefix_, *mapping_); }
  TableKeys KeysOfTable() const;
  /// The keys among the invalidations, without a pass over all keys.
  void AddKeys(const Image& image, std::vector<std::string>& keys) const;
  void AddInvalidations(const Image& image, Invalidations& invalidations) const;
  void AddTags(const Image& image, std::vector<std::string>& tags) const;
  bool has_tags() const { return !tags_.empty(); }

  /// How long the entry of a row may live from now on.
  Lifetime LifetimeOf(const Image& image, int64_t now_us) const;

  /// `{"_apex_seq":N,...}` with the columns in the mapping's order, as design section 3a has them.
  /// The error is kUnencodable and names column and row.
  Result<std::string> Value(int64_t seq, const RowId& row, const Image& image) const;

 private:
  CachePlan(MappingPtr mapping, std::string key_prefix)
      : mapping_(std::move(mapping)), key_prefix_(std::move(key_prefix)) {}

  /// A column of the cached value.
  struct Member {
    std::string name;
    std::string start;  ///< `,"name":`
    const Column* column = nullptr;
  };

  MappingPtr mapping_;
  std::string key_prefix_;
  std::vector<Member> members_;
  std::optional<KeyTemplate> entry_;
  std::vector<KeyTemplate> invalidate_;
  std::vector<KeyTemplate> tags_;
};

/// What somebody has invalidated by hand, as the outbox has it: names without the prefix.
struct ManualInvalidation {
  Invalidations invalidations;
  std::string event;  ///< Empty: nothing is announced.
  std::string document_id;
};
/// nullopt: the text is of another form.
std::optional<ManualInvalidation> ReadManualInvalidation(std::string_view prefix,
                                                         std::string_view text);

/// Unix time as events tell it: 2022-02-22T19:22:22.123456Z.
std::string EventTime(int64_t now_us);

/// One message for the channel. `event` is "document_updated".
std::string EventMessage(const RowId& row, std::string_view event, std::string_view time);
/// The same with a text for an id.
std::string EventMessage(std::string_view id, std::string_view event, std::string_view time);

}  // namespace apex::redis
