// The statement trigger apex.capture_truncate(): TRUNCATE of an attached table.
//
// A table as a whole is one event, T, whatever it held: everything of the table with a lower
// version is gone. It is captured AFTER the rows went, so that what other triggers of the statement
// wrote before that lies below it; what they have written since, while the lock keeps everybody
// else out, is sent anew above it.
//
// A partition that is truncated alone is none of that: its rows are captured as deleted, BEFORE
// they go. It is told from one that goes together with its table by the trigger of the latter,
// which PostgreSQL fires first.
#include "pg/capture.h"
#include "pg/capture_rows.h"
#include "pg/guard.h"
#include "pg/outbox_buffer.h"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "storage/proc.h"
}

namespace apex::pg {
namespace {

constexpr char kTruncated = 'T';

LocalTransactionId CurrentTransaction() {
#if PG_VERSION_NUM >= 170000
  return MyProc->vxid.lxid;
#else
  return MyProc->lxid;
#endif
}

// The partitioned table whose TRUNCATE is firing triggers. An ERROR ends the statement and with it
// its (sub)transaction, whose numbers do not come again.
struct Statement {
  Oid root;
  LocalTransactionId transaction;
  SubTransactionId level;
};

Statement running = {InvalidOid, InvalidLocalTransactionId, InvalidSubTransactionId};

bool IsGoing(Oid root) {
  return running.root == root && running.transaction == CurrentTransaction() &&
         running.level == GetCurrentSubTransactionId();
}

void Before(const CapturePlan& plan, Relation relation) {
  if (RelationGetRelid(relation) == plan.root) {
    running = {plan.root, CurrentTransaction(), GetCurrentSubTransactionId()};
  } else if (relation->rd_rel->relkind == RELKIND_RELATION && !IsGoing(plan.root)) {
    CaptureRowsOf(relation, kDeleted);
  }
}

void After(const CapturePlan& plan, Relation relation) {
  if (RelationGetRelid(relation) != plan.root) return;
  running.root = InvalidOid;
  OutboxEvent event{};
  event.op = kTruncated;
  event.command = GetCurrentCommandId(true);
  event.key = BuildArray(nullptr, 0);
  CaptureEvent(plan, event);
  // Nothing, unless a trigger of this statement was faster. Tables that inherit from this one are
  // tables of their own.
  if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) {
    CaptureRows(RelationGetRelid(relation), kRefreshed);
  } else {
    CaptureRowsOf(relation, kRefreshed);
  }
}

void CheckCalledByTruncate(FunctionCallInfo fcinfo) {
  if (CALLED_AS_TRIGGER(fcinfo)) {
    const TriggerEvent event = reinterpret_cast<TriggerData*>(fcinfo->context)->tg_event;
    if (TRIGGER_FIRED_BY_TRUNCATE(event)) return;
  }
  ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                  errmsg("apex.capture_truncate() can only be fired by TRUNCATE"),
                  errhint("Call apex.attach, which creates the triggers.")));
}

void CaptureTruncate(const TriggerData* trigger) {
  const Relation relation = trigger->tg_relation;
  const CapturePlan& plan = *FindPlan(relation);
  if (!plan.attached()) return WarnUnmapped(plan, relation);
  TRIGGER_FIRED_BEFORE(trigger->tg_event) ? Before(plan, relation) : After(plan, relation);
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_capture_truncate) {
  apex::pg::CheckCalledByTruncate(fcinfo);
  apex::pg::CaptureTruncate(reinterpret_cast<TriggerData*>(fcinfo->context));
  apex::pg::WriteIfCommitting();
  return PointerGetDatum(nullptr);
}
