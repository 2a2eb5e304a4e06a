// apex.capture_invalidation: an event that names keys of the cache instead of a row.
#include "pg/capture.h"
#include "pg/guard.h"
#include "pg/outbox_buffer.h"

extern "C" {
#include "access/table.h"
#include "access/xact.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
}

namespace apex::pg {
namespace {

void CaptureInvalidation(Oid table, const Jsonb* key, const Jsonb* what) {
  const Relation relation = table_open(table, AccessShareLock);
  const CapturePlan* plan = FindPlan(relation);
  if (plan == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("table %s is not attached", RelationGetRelationName(relation))));
  }
  OutboxEvent event{};
  event.op = 'V';
  event.command = GetCurrentCommandId(true);
  event.key = key;
  event.after = what;
  CaptureEvent(*plan, event);
  WriteIfCommitting();
  table_close(relation, NoLock);
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_capture_invalidation) {
  apex::pg::CaptureInvalidation(PG_GETARG_OID(0), PG_GETARG_JSONB_P(1), PG_GETARG_JSONB_P(2));
  PG_RETURN_VOID();
}
