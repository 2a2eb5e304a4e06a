// apex.refresh: a row as it is now, sent as a full image (rule E7).
//
// The row is locked FOR NO KEY UPDATE while its version is drawn, so that versions follow commits.
#include "pg/capture_refresh.h"

#include "pg/attach.h"
#include "pg/capture_outbox.h"
#include "pg/guard.h"
#include "pg/outbox_buffer.h"
#include "pg/owner.h"

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

namespace apex::pg {
void CheckMayRefresh(Oid table) {
  const Oid outbox = get_relname_relid("outbox", get_namespace_oid("apex", false));
  if (OwnsTable(table) || pg_class_aclcheck(outbox, GetUserId(), ACL_SELECT) == ACLCHECK_OK) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                  errmsg("must be owner of table %s", get_rel_name(table)),
                  errhint("Call it as the table's owner or as the sidecar's role.")));
}

void CaptureRefreshed(const CapturePlan& plan, Relation relation, TupleTableSlot* found) {
  bool should_free;
  const HeapTuple tuple = ExecFetchSlotHeapTuple(found, false, &should_free);
  const RowValues row = TakeApart(tuple, RelationGetDescr(relation));
  CaptureChange(plan, RowChange{'R', GetCurrentCommandId(true), {}, row, nullptr});
}

int64 DrawBeforeSearch(const CapturePlan& plan) {
  WritePending();
  return DrawVersions(plan.outbox);
}

void WriteVanished(const CapturePlan& plan, Relation relation, const KeyTexts& key, int64 seq) {
  TupleTableSlot* slot = MakeSearchSlot(plan, relation, key);
  const RowImage row = EncodeRow(plan, RowValues{slot->tts_values, slot->tts_isnull});
  OutboxEvent event{};
  event.op = 'D';
  event.command = GetCurrentCommandId(true);
  event.key = row.key;
  event.aggregate_key = row.aggregate_key;
  event.error = row.key_error;
  CaptureEvent(plan, event);
  WritePendingAs(seq);
  ExecDropSingleTupleTableSlot(slot);
}

namespace {

// Finds and locks the row in one table or leaf partition, waiting for whoever changes it. 0 when it
// is not there.
int64 RefreshIn(Relation relation, const KeyTexts& key) {
  const Oid index = PrimaryKeyIndex(relation);
  if (!OidIsValid(index)) return 0;
  const CapturePlan& plan = *FindPlan(relation);
  CheckKey(plan, key, relation);
  TupleTableSlot* search = MakeSearchSlot(plan, relation, key);
  TupleTableSlot* found = table_slot_create(relation, nullptr);
  int64 seq = 0;
  if (RelationFindReplTupleByIndex(relation, index, LockTupleNoKeyExclusive, search, found)) {
    CaptureRefreshed(plan, relation, found);
    seq = WritePending();
  }
  ExecDropSingleTupleTableSlot(found);
  ExecDropSingleTupleTableSlot(search);
  return seq;
}

int64 Refresh(Oid table, const KeyTexts& key) {
  const Relation relation = table_open(table, RowShareLock);
  const CapturePlan& plan = *FindPlan(relation);
  CheckKey(plan, key, relation);
  const int64 delete_seq = DrawBeforeSearch(plan);
  PushActiveSnapshot(GetLatestSnapshot());
  int64 seq = 0;
  ListCell* cell;
  foreach (cell, LeavesFrom(relation, InvalidOid, RowShareLock)) {
    const Relation leaf = table_open(lfirst_oid(cell), NoLock);
    if (seq == 0) seq = RefreshIn(leaf, key);
    table_close(leaf, NoLock);
  }
  PopActiveSnapshot();
  if (seq == 0) WriteVanished(*FindPlan(relation), relation, key, delete_seq);
  table_close(relation, NoLock);
  return seq == 0 ? delete_seq : seq;
}

int64 RefreshAsOwner(Oid table, const KeyTexts& key) {
  const Caller caller = BecomeOwner(table);
  const int64 seq = Refresh(table, key);
  ReturnTo(caller);
  return seq;
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_refresh) {
  const Oid table = PG_GETARG_OID(0);
  apex::pg::CheckMayRefresh(table);
  PG_RETURN_INT64(apex::pg::RefreshAsOwner(table, apex::pg::ReadKey(PG_GETARG_ARRAYTYPE_P(1))));
}
