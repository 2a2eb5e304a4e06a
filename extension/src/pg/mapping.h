// What capture does for one table: apex.mapping's active row, resolved against the table as it is
// now.
//
// Plans are cached per backend by the relation the trigger fires on (for a partition that is not
// the attached table) and dropped by relation invalidations, which apex.attach and apex.detach
// send. Columns are found by attribute number, so that a rename keeps delivering under the attached
// name. A plan stays valid until the next FindPlan of its relation.
#pragma once

#include "pg/encode.h"
#include "pg/encode_jsonb.h"

extern "C" {
#include "utils/rel.h"
}

namespace apex::pg {

inline constexpr int kOutboxSlots = 3;

struct PlanColumn {
  const char* name;      ///< As attached: the name in images and stores.
  AttrNumber attribute;  ///< In the relation of the plan. 0 when it is gone.
  ValueType type;
  const char* problem;  ///< Why the column cannot be captured any more; NULL when it can.
};

struct OutboxOids {
  Oid sequence;
  Oid slots[kOutboxSlots];
};

/// How many bytes a column's value has: a number, or one of these.
inline constexpr int16 kByValue = 0;
inline constexpr int16 kVariableLength = -1;

struct ShapeColumn {
  AttrNumber attribute;  ///< In the relation of the plan.
  int16 length;
};

/// How a table's rows are laid out where they are kept as they were.
struct RowShape {
  bool keeps_values;  ///< False: some column means nothing without the catalog of the moment.
  int count;          ///< The plan's columns and, as the last, the embedding if there is one.
  ShapeColumn* columns;
  const char* bytes;  ///< What goes into a block, to read the rows by.
  uint32 bytes_length;
  uint64 serial;  ///< Tells this shape from every other one of the backend.
};

struct CapturePlan {
  Oid relation;  ///< The table or partition whose rows are captured.
  Oid root;      ///< The attached table; 0: there is no active mapping.
  int32 mapping;
  int key_count;
  PlanColumn* key;
  int column_count;
  PlanColumn* columns;
  ObjectLayout layout;     ///< Of the columns' names.
  Oid aggregate_relation;  ///< 0: a row is its own aggregate.
  PlanColumn aggregate;
  EmbeddingKind embedding_kind;  ///< kNone: nothing to capture, or a problem.
  PlanColumn embedding;
  bool pins_output;  ///< Some column's text depends on settings.
  bool guarded;      ///< Some column's output function could raise.
  OutboxOids outbox;
  RowShape shape;
  mutable bool warned;  ///< The user was told once that the table is not attached.

  bool attached() const { return root != InvalidOid; }
};

OutboxOids FindOutbox(Oid schema);

/// The oid of apex.capture(), by which its triggers are known, since their owners may rename them;
/// 0 in a database without the extension.
Oid CaptureFunction();

/// Never NULL. The first use in a backend registers the invalidation callback.
const CapturePlan* FindPlan(Relation relation);

}  // namespace apex::pg
