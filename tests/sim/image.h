// Rows of the simulated tables: a short text that also says what the stores think of it.
//
//   "17"     a good row        "17!q"  Qdrant refuses it          "17~"  its embedding is NULL: no
//   point in Qdrant "17?r"   Redis takes it as a write and refuses to be put back to it
#pragma once

#include <optional>
#include <string>

#include "core/change.h"

namespace apex::sim {

inline constexpr Store kTargets[] = {Store::kNeo4j, Store::kQdrant, Store::kRedis};

inline char Letter(Store store) { return Name(store)[0]; }

inline bool RefusedBy(const std::string& image, Store store) {
  return image.find(std::string("!") + Letter(store)) != std::string::npos;
}

inline bool UndoRefusedBy(const std::string& image, Store store) {
  return image.find(std::string("?") + Letter(store)) != std::string::npos;
}

/// What `store` holds of a row with this image; nothing when there is no row.
inline std::optional<std::string> HeldBy(Store store, const std::optional<std::string>& image) {
  if (!image || (store == Store::kQdrant && image->find('~') != std::string::npos))
    return std::nullopt;
  return image;
}

inline bool Names(const TableMapping& mapping, Store store) {
  switch (store) {
    case Store::kNeo4j: return mapping.node.has_value();
    case Store::kQdrant: return mapping.vector.has_value();
    case Store::kRedis: return mapping.cache.has_value();
    case Store::kPostgres: return false;
  }
  return false;
}

inline std::string Text(const RowId& row) { return std::to_string(row.relation) + row.key; }
inline std::string Text(const std::optional<std::string>& image) {
  return image.value_or("nothing");
}

}  // namespace apex::sim
