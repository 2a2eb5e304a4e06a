// The row trigger apex.capture(): AFTER INSERT, UPDATE or DELETE of an attached table.
#include "pg/capture.h"

#include "pg/guard.h"

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

bool SameValues(const PlanColumn* columns, int count, const RowValues& before,
                const RowValues& after, TupleDesc descriptor) {
  for (int i = 0; i < count; i++) {
    if (!SameValue(columns[i], before, after, descriptor)) return false;
  }
  return true;
}

OutboxEvent StartEvent(char op, CommandId command, const RowImage& row) {
  OutboxEvent event{};
  event.op = op;
  event.command = command;
  event.key = row.key;
  event.aggregate_key = row.aggregate_key;
  event.error = row.error;
  return event;
}

void Write(const CapturePlan& plan, const OutboxEvent& event) {
  WriteEvent(plan, event, DrawSeq(plan));
}

void CaptureInsert(const CapturePlan& plan, const RowImage& after, CommandId command) {
  OutboxEvent event = StartEvent('I', command, after);
  event.after = after.image;
  event.embedding = after.embedding;
  Write(plan, event);
}

void CaptureDelete(const CapturePlan& plan, const RowImage& before, CommandId command) {
  // A delete needs no more than the key: an image that cannot be written does not hold it up.
  OutboxEvent event = StartEvent('D', command, before);
  event.error = before.key_error;
  event.before = before.image;
  event.old_embedding = before.embedding;
  Write(plan, event);
}

// NULL says "unchanged", so that a NULL of before is written as no bytes.
const bytea* OldEmbedding(const RowImage& before) {
  if (before.embedding != nullptr) return before.embedding;
  bytea* none = static_cast<bytea*>(palloc(VARHDRSZ));
  SET_VARSIZE(none, VARHDRSZ);
  return none;
}

void CaptureUpdate(const CapturePlan& plan, Relation relation, HeapTuple old_tuple,
                   HeapTuple new_tuple) {
  const TupleDesc descriptor = RelationGetDescr(relation);
  const RowValues before = TakeApart(old_tuple, descriptor);
  const RowValues after = TakeApart(new_tuple, descriptor);
  const bool same_columns = SameValues(plan.columns, plan.column_count, before, after, descriptor);
  const bool same_embedding = SameValue(plan.embedding, before, after, descriptor);
  if (same_columns && same_embedding) return;

  const CommandId command = CommandOf(relation, new_tuple, false);
  const RowImage old_row = EncodeRow(plan, before);
  const RowImage new_row = EncodeRow(plan, after);
  if (!SameValues(plan.key, plan.key_count, before, after, descriptor)) {
    CaptureDelete(plan, old_row, command);
    CaptureInsert(plan, new_row, command);
    return;
  }
  OutboxEvent event = StartEvent('U', command, new_row);
  if (event.error == nullptr) {
    // The stores want the new image even where the old one cannot be written any more.
    event.before = old_row.image;
    event.after = new_row.image;
    event.embedding = new_row.embedding;
    event.old_embedding = same_embedding ? nullptr : OldEmbedding(old_row);
  }
  Write(plan, event);
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
  } else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event)) {
    CaptureInsert(plan, EncodeRow(plan, TakeApart(trigger->tg_trigtuple, descriptor)),
                  CommandOf(relation, trigger->tg_trigtuple, false));
  } else {
    CaptureDelete(plan, EncodeRow(plan, TakeApart(trigger->tg_trigtuple, descriptor)),
                  CommandOf(relation, trigger->tg_trigtuple, true));
  }
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_capture) {
  apex::pg::CheckCalledAsAttached(fcinfo);
  apex::pg::Capture(reinterpret_cast<TriggerData*>(fcinfo->context));
  return PointerGetDatum(nullptr);
}
