// The events of a block, one after another, as the contract names their columns.
#pragma once

#include "pg/capture.h"

extern "C" {
#include "access/transam.h"
#include "datatype/timestamp.h"
}

namespace apex::pg {

// Columns of apex.event, in the order of 30_capture.sql.
enum EventColumn {
  kEventSeq,
  kEventXid,
  kEventCommand,
  kEventRelation,
  kEventMapping,
  kEventOp,
  kEventKey,
  kEventAggregateRelation,
  kEventAggregateKey,
  kEventBefore,
  kEventAfter,
  kEventEmbedding,
  kEventOldEmbedding,
  kEventError,
  kEventTraceparent,
  kEventCapturedAt,
  kEventColumns,
};

struct EventColumns {
  Datum values[kEventColumns];
  bool nulls[kEventColumns];
};

/// A block and what its row says of it.
struct StoredBlock {
  const struct varlena* bytes;  ///< Aligned as allocated memory is.
  int64 last_seq;
  FullTransactionId xid;
  TimestampTz captured_at;
  int events;
};

/// What reading needs to know of tables, found out once for all blocks of a query.
struct ShapeCache;

ShapeCache* MakeShapeCache(MemoryContext context);

/// Calls `visit` for each event in the order of their versions, without `images` for one that has
/// no images and embeddings. Its values are gone when it returns. An ERROR when the bytes are not
/// what capture writes.
void ReadEvents(ShapeCache* shapes, const StoredBlock& block, bool images,
                void (*visit)(const EventColumns& event, void* state), void* state);

}  // namespace apex::pg
