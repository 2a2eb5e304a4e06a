// One outbox row, and what the stores are asked to make of the rows it names.
//
// Images stay the JSON text that PostgreSQL wrote: the saga engine never looks inside, each store
// parses once while it encodes. All of it is immutable after reading and shared by pointer between
// the engine and the stores' threads.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/few.h"
#include "core/mapping.h"

namespace apex {

/// A row of an attached table; also an aggregate, which is named by its root row.
struct RowId {
  uint32_t relation = 0;  ///< oid
  std::string key;        ///< The outbox's JSON array as compact text: ["0190..."]

  /// A table as a whole, which is what a truncation is of: no row has a key without columns.
  bool IsTable() const { return key == "[]"; }
  static RowId Table(uint32_t relation) { return {relation, "[]"}; }

  auto operator<=>(const RowId&) const = default;
};

struct RowIdHash {
  size_t operator()(const RowId& row) const {
    return std::hash<std::string>{}(row.key) * 31 + row.relation;
  }
};

/// kInvalidate is no change of a row: its key is none's, and `after` names keys of the cache.
enum class Operation : char {
  kInsert = 'I',
  kUpdate = 'U',
  kDelete = 'D',
  kRefresh = 'R',
  kTruncate = 'T',  ///< All that the table had at a lower seq is gone.
  kInvalidate = 'V',
};

struct Change {
  int64_t seq = 0;
  uint64_t xid = 0;
  int32_t command = 0;
  Operation op = Operation::kInsert;
  MappingPtr mapping;
  RowId row;
  RowId aggregate;                    ///< Equal to `row` when the row is its own aggregate.
  std::optional<std::string> before;  ///< JSON object text
  std::optional<std::string> after;
  std::optional<std::string> embedding;      ///< Packed little-endian float4, the after value.
  std::optional<std::string> old_embedding;  ///< The before value, only where it differs.
  std::string capture_error;                 ///< Not empty: key only, to be parked.
  std::string traceparent;
  int64_t captured_at_us = 0;  ///< Unix time
};

using ChangePtr = std::shared_ptr<const Change>;

/// Makes one row true in a store, or takes away a table when newest->op is kTruncate. `changes`
/// holds every coalesced event of the row, oldest first; `newest` stands for all.
struct RowWrite {
  int64_t seq = 0;   ///< The row's version: the highest seq of `changes`.
  ChangePtr newest;  ///< Deletes when newest->op is kDelete, else upserts newest->after whole.
  Few<ChangePtr> changes;
};

/// Whether what a store is asked for is a table, which comes alone.
inline bool Truncates(std::span<const RowWrite> rows) {
  return !rows.empty() && rows.front().newest->op == Operation::kTruncate;
}

/// Puts one row back to the image the store had accepted, if what the store holds came from the
/// failed changes: a version above `accepted_seq` and up to `failed_seq` (not that one alone: an
/// earlier leader may have written them one by one), or nothing where `accepted` is something (the
/// row was deleted).
struct RowUndo {
  MappingPtr mapping;
  RowId row;
  int64_t failed_seq = 0;
  int64_t accepted_seq =
      0;  ///< Version to leave behind, lower than failed_seq and than any later change.
  std::optional<std::string> accepted;  ///< JSON object text; nullopt: the row was not there.
  std::optional<std::string> accepted_embedding;
  std::vector<std::string>
      images;  ///< Every image involved: their cache keys are invalidated again.
};

}  // namespace apex
