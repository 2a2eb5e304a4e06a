// From the rows of apex.read_piece and apex.read_ahead to changes. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/change.h"
#include "stores/postgres/session.h"

namespace apex::postgres {

using Mappings = std::unordered_map<int32_t, MappingPtr>;

/// The columns that ParseChanges expects, in its order.
inline constexpr const char* kChangeColumns =
    "seq, xid, command, op, mapping, relation, key::text, aggregate_relation, aggregate_key::text, "
    "before::text, after::text,"
    " embedding, old_embedding, error, traceparent, captured_at, through_seq, batch_end";

struct PieceChanges {
  std::vector<ChangePtr> changes;  ///< In seq order.
  int64_t through_seq = 0;         ///< The piece ends here; what lies beyond was fetched ahead.
  bool batch_end = false;
};

/// The first mapping that is named by a row and not in `mappings`; 0: all are there.
int32_t FindUnknownMapping(const Rows& rows, const Mappings& mappings);

/// Every mapping has to be known.
PieceChanges ParseChanges(const Rows& rows, const Mappings& mappings);

/// JSON text without the spaces that PostgreSQL puts between its tokens: ["a", 1] becomes ["a",1].
std::string CompactJson(std::string_view json);

}  // namespace apex::postgres
