// What `apex verify` compares: a row as PostgreSQL has it, as a store ought to hold it and as the
// store does hold it; and who reads the last two.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/change.h"
#include "core/result.h"

namespace apex {

/// A row of an attached table as its event would hold it.
struct TableRow {
  ChangePtr row;      ///< A refresh of seq 0; `capture_error` where no event can hold it.
  std::string stamp;  ///< Another one once the row has been changed, even if changed back.
};

/// A part of what a store holds of a row, in words that are equal when the parts are.
struct StoredField {
  std::string name;
  std::string text;

  auto operator<=>(const StoredField&) const = default;
};

struct StoredRow {
  std::string name;  ///< Its own among the mapping's rows in this store.
  std::optional<std::string>
      key;  ///< As the outbox writes it; nullopt: what is held does not tell.
  std::optional<int64_t> version;   ///< `_apex_seq`
  std::vector<StoredField> fields;  ///< In the order of their names.
  std::vector<float> vector;
  bool is_direction = false;  ///< Of `vector` the length means nothing: the store changed it.
  std::string image;          ///< What compare-and-delete needs of it, as JSON; may be empty.
};

/// Reads what a store holds, through a connection of its own. Used by one thread. No answer is
/// waited for longer than kReadTimeout.
inline constexpr std::chrono::milliseconds kReadTimeout{30000};

class StoreReader {
 public:
  /// A page of rows; an error ends the reading.
  using Page = std::function<Status(std::vector<StoredRow>)>;

  virtual ~StoreReader() = default;

  virtual Store store() const = 0;
  /// Whether the store holds rows of this mapping that can be compared.
  virtual bool Holds(const TableMapping& mapping) const = 0;
  /// Whether a row may be missing without anything being wrong.
  virtual bool MayForget(const TableMapping& /*mapping*/) const { return false; }

  /// What the write path would write for the row at its seq; nullopt: nothing. The error is
  /// kUnencodable.
  virtual Result<std::optional<StoredRow>> Expected(const ChangePtr& row) = 0;

  /// Every row that the store holds of the mapping, in any order, one page in memory at a time. A
  /// row that is written meanwhile may come twice or not at all.
  virtual Status ReadAll(const MappingPtr& mapping, const Page& page) = 0;
  /// Those of these rows that are there. Only `name` and `key` of each are looked at.
  virtual Result<std::vector<StoredRow>> ReadThese(const MappingPtr& mapping,
                                                   std::span<const StoredRow> rows) = 0;
  /// Names of nodes that only stand for rows which relationships point at, up to `count_max`.
  virtual Result<std::vector<std::string>> ReadStubs(const MappingPtr& /*mapping*/,
                                                     size_t /*count_max*/) {
    return std::vector<std::string>();
  }
};

}  // namespace apex
