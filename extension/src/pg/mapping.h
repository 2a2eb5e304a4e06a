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
  AttrNumber attribute;  ///< In the relation of the plan. 0 when there is a problem.
  ValueType type;
  const char* problem;  ///< Why the column cannot be captured any more; NULL when it can.
};

struct OutboxOids {
  Oid sequence;
  Oid slots[kOutboxSlots];
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
  mutable bool warned;  ///< The user was told once that the table is not attached.

  bool attached() const { return root != InvalidOid; }
};

/// Never NULL. The first use in a backend registers the invalidation callback.
const CapturePlan* FindPlan(Relation relation);

}  // namespace apex::pg
