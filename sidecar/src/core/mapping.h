// What an attached table is mapped to: `apex.mapping.spec`, parsed. See
// docs/internals/extension-and-sidecar.md.
//
// Immutable once loaded and shared by pointer: events of an older mapping keep it alive.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace apex {

enum class ColumnKind {
  kBool,
  kInt,
  kFloat,
  kNumeric,
  kUuid,
  kText,
  kJson,
  kJsonb,
  kTimestamptz,
  kTimestamp,
  kDate,
  kOther,
};

struct Column {
  std::string name;
  ColumnKind kind = ColumnKind::kText;  ///< Of the elements when `is_array`.
  bool is_array = false;
};

/// The node at the far end of a foreign key: its label and the names of its key columns, in the
/// order of the columns that point at it.
struct Endpoint {
  std::vector<std::string> columns;  ///< In the row that points.
  std::string label;
  std::vector<std::string> key;  ///< Properties of the node pointed at.
};

struct RelationMapping {
  std::string type;
  Endpoint to;
};

struct NodeMapping {
  std::string label;
  std::vector<std::string> properties;
  std::vector<RelationMapping> relations;
};

struct EdgeMapping {
  std::string type;
  std::vector<std::string> properties;
  Endpoint from;
  Endpoint to;
};

enum class Distance { kCosine, kDot, kEuclid, kManhattan };

struct VectorMapping {
  std::string collection;
  std::string embedding;  ///< Column name, for messages.
  std::string name;       ///< Of the vector in the collection; empty: the unnamed one.
  uint32_t dimensions = 0;
  Distance distance = Distance::kCosine;
  std::vector<std::string> payload;
};

enum class CacheMode { kInvalidate, kWrite };

struct CacheMapping {
  std::string entity;
  CacheMode mode = CacheMode::kInvalidate;
  std::string entry;  ///< Template of the row's own key; empty: the row has no entry.
  std::optional<int64_t> ttl_seconds;
  std::vector<std::string> columns;
  std::vector<std::string> invalidate;  ///< Templates of further keys; one with a glob character
                                        ///< outside braces is a pattern.
  std::vector<std::string>
      events;  ///< "document" is announced as document_updated and document_deleted.
  std::string ttl_column = {};         ///< Seconds to live or until when; empty: none says so.
  std::vector<std::string> tags = {};  ///< Templates of the tags that a change invalidates.
};

struct TableMapping {
  int32_t id = 0;
  uint32_t relation = 0;  ///< oid
  std::string table;      ///< "schema.name", for messages and derived ids
  std::string pipeline;
  bool active = true;
  std::vector<Column> key;
  std::vector<Column> columns;
  std::optional<NodeMapping> node;  ///< At most one of node and edge.
  std::optional<EdgeMapping> edge;
  std::optional<VectorMapping> vector;
  std::optional<CacheMapping> cache;
  std::string on_failure = "park";

  const Column* FindColumn(std::string_view name) const;
};

using MappingPtr = std::shared_ptr<const TableMapping>;

/// Parses one `spec`. The error is permanent, of store kPostgres, and names the mapping and the
/// member at fault.
Result<TableMapping> ParseMapping(int32_t id, uint32_t relation, std::string pipeline, bool active,
                                  std::string on_failure, std::string_view spec_json);

}  // namespace apex
