// How rows lie in a block: the bytes of the row's own values, of the types whose bytes mean the
// same for ever, so that a writer copies them and a reader encodes them.
//
// A shape is written into each block that has rows of it. It names types by codes of our own, and
// what the columns are called is looked up by the mapping's id when the block is read.
#pragma once

#include "pg/mapping.h"

namespace apex::pg {

/// What a block holds of a shape, before a code for each column.
struct ShapeHead {
  int32 mapping;
  Oid relation;
  Oid aggregate_relation;
  uint16 columns;  ///< 0: there are only events that capture encoded.
  EmbeddingKind embedding_kind;
};

/// The fields of a record of the kind kRow: rows as kept_row.h lays them out.
enum RowField {
  kRowBefore,
  kRowAfter,
  kRowSame,  ///< A bit for each column that has the same value in both; it is NULL in before.
};

/// The fields of a record of the kind kWritten, each a datum.
enum WrittenField {
  kWrittenKey,
  kWrittenAggregateKey,
  kWrittenBefore,
  kWrittenAfter,
  kWrittenEmbedding,
  kWrittenOldEmbedding,
  kWrittenError,
};

/// Sets plan->shape. Everything else of the plan is there.
void DescribeShape(CapturePlan* plan);

/// A plan to encode rows of a shape that a block has; its columns' attributes count those of the
/// shape. NULL when the bytes are no shape. In memory of the current context.
const CapturePlan* PlanForReading(const char* bytes, Size length);

}  // namespace apex::pg
