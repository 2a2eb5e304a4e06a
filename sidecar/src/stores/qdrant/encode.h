// Rows as Qdrant's update operations (design, section 3a). Pure: no I/O, no state, thread-safe.
//
// Every operation carries a condition on the stored `_apex_seq`, so that sending it again, or after
// a newer one, changes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/change.h"
#include "core/result.h"
#include "qdrant.pb.h"

namespace apex::qdrant {

/// The payload field that holds a point's version.
inline constexpr const char* kSeqField = "_apex_seq";

/// How deep a json value may nest. Qdrant's decoder gives up at 100 nested messages and each level
/// takes three; it answers INTERNAL then, which would look like trouble of the store.
inline constexpr int kNestingMax = 28;

using PointOperation = ::qdrant::PointsUpdateOperation;

/// Upserts the newest image, or deletes the point when the row or its embedding is gone; applies
/// where the stored version is lower or there is none. The error is permanent, has native_code
/// kUnencodable and names column and row. `write.newest->mapping` names a vector.
Result<PointOperation> EncodeWrite(const RowWrite& write);

/// Puts the accepted image back, or deletes the point; applies where the store holds a version
/// above accepted_seq up to failed_seq or, for an image to restore, nothing (the row had been
/// deleted). `undo.mapping` names a vector.
Result<PointOperation> EncodeUndo(const RowUndo& undo);

}  // namespace apex::qdrant
