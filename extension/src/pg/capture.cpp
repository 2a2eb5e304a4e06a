// The row trigger apex.capture(): AFTER INSERT, UPDATE or DELETE of an attached table.
#include "pg/capture.h"

#include "pg/guard.h"
#include "pg/outbox_buffer.h"

extern "C" {
#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "commands/trigger.h"
#include "utils/combocid.h"
#include "utils/datum.h"
}

namespace apex::pg {
namespace {

// The command that made this version of the row, or that ended it. Events of one row are ordered by
// it and not by the order of capture: an AFTER trigger or a function that updates its own row has
// the later image captured first. The current command would be that of the trigger, hence the
// tuple's own.
CommandId CommandOf(Relation relation, HeapTuple tuple, bool ended) {
  if (relation->rd_rel->relam != HEAP_TABLE_AM_OID) return GetCurrentCommandId(false);
  return ended ? HeapTupleHeaderGetCmax(tuple->t_data) : HeapTupleHeaderGetCmin(tuple->t_data);
}

bool SameToastPointer(Datum a, Datum b) {
  const auto* left = reinterpret_cast<const struct varlena*>(DatumGetPointer(a));
  const auto* right = reinterpret_cast<const struct varlena*>(DatumGetPointer(b));
  return VARATT_IS_EXTERNAL_ONDISK(left) && VARATT_IS_EXTERNAL_ONDISK(right) &&
         memcmp(left, right, VARSIZE_EXTERNAL(left)) == 0;
}

bool SameValue(const PlanColumn& column, const RowValues& before, const RowValues& after,
               TupleDesc descriptor) {
  if (column.attribute == InvalidAttrNumber) return true;
  const int index = column.attribute - 1;
  if (before.nulls[index] || after.nulls[index]) return before.nulls[index] == after.nulls[index];
  const Datum old_value = before.values[index];
  const Datum new_value = after.values[index];
  const Form_pg_attribute form = TupleDescAttr(descriptor, index);
  if (form->attlen == -1 && SameToastPointer(old_value, new_value)) return true;
  return datum_image_eq(old_value, new_value, form->attbyval, form->attlen);
}

bool KeyChanged(const CapturePlan& plan, const RowChange& change, TupleDesc descriptor) {
  for (int i = 0; i < plan.key_count; i++) {
    const PlanColumn& column = plan.key[i];
    if (column.problem != nullptr) continue;  // There is no key to delete and insert by.
    if (!SameValue(column, change.before, change.after, descriptor)) return true;
  }
  return false;
}

// Sets which columns of the shape are the same; true when all are.
bool Compare(bool* same, const CapturePlan& plan, const RowChange& change, TupleDesc descriptor) {
  bool all_same = true;
  for (int i = 0; i < plan.shape.count; i++) {
    const PlanColumn& column = i < plan.column_count ? plan.columns[i] : plan.embedding;
    same[i] = SameValue(column, change.before, change.after, descriptor);
    all_same &= same[i];
  }
  if (plan.embedding.problem == nullptr) return all_same;
  // It has no place in the shape, and is to be heard of all the same.
  return all_same && SameValue(plan.embedding, change.before, change.after, descriptor);
}

void CaptureUpdate(const CapturePlan& plan, Relation relation, HeapTuple old_tuple,
                   HeapTuple new_tuple) {
  const TupleDesc descriptor = RelationGetDescr(relation);
  bool* same = static_cast<bool*>(palloc(static_cast<Size>(plan.shape.count) + 1));
  RowChange change{'U', FirstCommandId, TakeApart(old_tuple, descriptor),
                   TakeApart(new_tuple, descriptor), same};
  if (Compare(same, plan, change, descriptor)) return;
  change.command = CommandOf(relation, new_tuple, false);
  if (KeyChanged(plan, change, descriptor)) {
    CaptureChange(plan, RowChange{'D', change.command, change.before, {}, nullptr});
    CaptureChange(plan, RowChange{'I', change.command, {}, change.after, nullptr});
    return;
  }
  CaptureChange(plan, change);
}

void CheckCalledAsAttached(FunctionCallInfo fcinfo) {
  if (CALLED_AS_TRIGGER(fcinfo)) {
    const TriggerEvent event = reinterpret_cast<TriggerData*>(fcinfo->context)->tg_event;
    if (TRIGGER_FIRED_AFTER(event) && TRIGGER_FIRED_FOR_ROW(event)) return;
  }
  ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                  errmsg("apex.capture() can only be fired AFTER a change, FOR EACH ROW"),
                  errhint("Call apex.attach, which creates the trigger.")));
}

}  // namespace

// A dump of the schema alone, restored, has the trigger and no mapping: a warning, since writes are
// not to fail.
void WarnUnmapped(const CapturePlan& plan, Relation relation) {
  if (plan.warned) return;
  plan.warned = true;
  ereport(
      WARNING,
      (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
       errmsg("changes of table \"%s\" are not captured", RelationGetRelationName(relation)),
       errdetail("It has the capture trigger of apex_saga, but no active mapping in apex.mapping."),
       errhint("Drop the trigger apex_capture and call apex.attach for the table.")));
}

namespace {

void Capture(const TriggerData* trigger) {
  const Relation relation = trigger->tg_relation;
  const CapturePlan& plan = *FindPlan(relation);
  if (!plan.attached()) {
    WarnUnmapped(plan, relation);
    return;
  }
  const TupleDesc descriptor = RelationGetDescr(relation);
  if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) {
    CaptureUpdate(plan, relation, trigger->tg_trigtuple, trigger->tg_newtuple);
    return;
  }
  const HeapTuple tuple = trigger->tg_trigtuple;
  const RowValues row = TakeApart(tuple, descriptor);
  if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event)) {
    CaptureChange(plan, RowChange{'I', CommandOf(relation, tuple, false), {}, row, nullptr});
  } else {
    CaptureChange(plan, RowChange{'D', CommandOf(relation, tuple, true), row, {}, nullptr});
  }
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_capture) {
  apex::pg::CheckCalledAsAttached(fcinfo);
  apex::pg::Capture(reinterpret_cast<TriggerData*>(fcinfo->context));
  apex::pg::WriteIfCommitting();
  return PointerGetDatum(nullptr);
}
