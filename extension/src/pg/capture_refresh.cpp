// apex.refresh: a row as it is now, sent as a full image (rule E7).
//
// The row is found by its primary key's index and locked FOR NO KEY UPDATE without SQL: no right,
// no row security policy and no rule of the table can hide it, and nothing of the user's is run.
#include "pg/attach.h"
#include "pg/capture.h"
#include "pg/guard.h"
#include "pg/owner.h"

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

namespace apex::pg {
namespace {

struct KeyTexts {
  Datum* values;
  bool* nulls;
  int count;
};

KeyTexts ReadKey(ArrayType* array) {
  KeyTexts key{};
  deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &key.values, &key.nulls, &key.count);
  return key;
}

// The sidecar's role is known by its right to read the outbox.
void CheckMayRefresh(Oid table) {
  const Oid outbox = get_relname_relid("outbox", get_namespace_oid("apex", false));
  if (OwnsTable(table) || pg_class_aclcheck(outbox, GetUserId(), ACL_SELECT) == ACLCHECK_OK) return;
  ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                  errmsg("must be owner of table %s", get_rel_name(table)),
                  errhint("Call apex.refresh as the table's owner or as the sidecar's role.")));
}

void CheckKey(const CapturePlan& plan, const KeyTexts& key, Relation relation) {
  if (!plan.attached()) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("table %s is not attached", RelationGetRelationName(relation)),
                    errhint("Call apex.attach for it first.")));
  }
  if (key.count != plan.key_count) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the primary key of table %s has %d columns, not %d",
                           RelationGetRelationName(relation), plan.key_count, key.count),
                    errhint("Give one text for each column of the key, in its order.")));
  }
  for (int i = 0; i < key.count; i++) {
    if (plan.key[i].problem != nullptr) {
      ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                      errmsg("key column \"%s\": %s", plan.key[i].name, plan.key[i].problem),
                      errhint("apex.detach the table and attach it again.")));
    }
    if (key.nulls[i]) {
      ereport(ERROR,
              (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a primary key has no NULL")));
    }
  }
}

// A slot with the key columns set. Domains are read as their base type, so that none of their
// checks runs.
TupleTableSlot* MakeSearchSlot(const CapturePlan& plan, Relation relation, const KeyTexts& key) {
  TupleTableSlot* slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
  ExecClearTuple(slot);
  memset(slot->tts_isnull, true, RelationGetNumberOfAttributes(relation) * sizeof(bool));
  for (int i = 0; i < key.count; i++) {
    const int index = plan.key[i].attribute - 1;
    const Form_pg_attribute form = TupleDescAttr(RelationGetDescr(relation), index);
    int32 modifier = form->atttypmod;
    const Oid type = getBaseTypeAndTypmod(form->atttypid, &modifier);
    Oid input, io_parameter;
    getTypeInputInfo(type, &input, &io_parameter);
    slot->tts_values[index] =
        OidInputFunctionCall(input, TextDatumGetCString(key.values[i]), io_parameter, modifier);
    slot->tts_isnull[index] = false;
  }
  return ExecStoreVirtualTuple(slot);
}

OutboxEvent MakeEvent(char op, const RowImage& row) {
  OutboxEvent event{};
  event.op = op;
  event.command = GetCurrentCommandId(true);
  event.key = row.key;
  event.aggregate_key = row.aggregate_key;
  return event;
}

int64 WriteRefreshed(const CapturePlan& plan, Relation relation, TupleTableSlot* found) {
  bool should_free;
  const HeapTuple tuple = ExecFetchSlotHeapTuple(found, false, &should_free);
  const RowImage row = EncodeRow(plan, TakeApart(tuple, RelationGetDescr(relation)));
  OutboxEvent event = MakeEvent('R', row);
  event.error = row.error;
  event.after = row.image;
  event.embedding = row.embedding;
  const int64 seq = DrawSeq(plan);
  WriteEvent(plan, event, seq);
  return seq;
}

int64 WriteVanished(const CapturePlan& plan, Relation relation, const KeyTexts& key, int64 seq) {
  TupleTableSlot* slot = MakeSearchSlot(plan, relation, key);
  const RowImage row = EncodeRow(plan, RowValues{slot->tts_values, slot->tts_isnull});
  OutboxEvent event = MakeEvent('D', row);
  event.error = row.key_error;
  WriteEvent(plan, event, seq);
  ExecDropSingleTupleTableSlot(slot);
  return seq;
}

Oid PrimaryKeyIndex(Relation relation) {
#if PG_VERSION_NUM >= 180000
  return RelationGetPrimaryKeyIndex(relation, false);
#else
  return RelationGetPrimaryKeyIndex(relation);
#endif
}

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
    seq = WriteRefreshed(plan, relation, found);
  }
  ExecDropSingleTupleTableSlot(found);
  ExecDropSingleTupleTableSlot(search);
  return seq;
}

int64 RefreshInPartitions(Relation root, const KeyTexts& key) {
  int64 seq = 0;
  ListCell* cell;
  foreach (cell, find_all_inheritors(RelationGetRelid(root), RowShareLock, nullptr)) {
    if (seq != 0 || get_rel_relkind(lfirst_oid(cell)) != RELKIND_RELATION) continue;
    const Relation leaf = table_open(lfirst_oid(cell), NoLock);
    seq = RefreshIn(leaf, key);
    table_close(leaf, NoLock);
  }
  return seq;
}

int64 Refresh(Oid table, const KeyTexts& key) {
  const Relation relation = table_open(table, RowShareLock);
  const CapturePlan& plan = *FindPlan(relation);
  CheckKey(plan, key, relation);
  // The version of a delete is drawn before the row is looked for: an insert that the search misses
  // draws a later one.
  const int64 delete_seq = DrawSeq(plan);
  PushActiveSnapshot(GetLatestSnapshot());
  int64 seq = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE
                  ? RefreshInPartitions(relation, key)
                  : RefreshIn(relation, key);
  PopActiveSnapshot();
  if (seq == 0) seq = WriteVanished(*FindPlan(relation), relation, key, delete_seq);
  table_close(relation, NoLock);
  return seq;
}

// Types may bring code of the table's owner along, which is to run with the owner's rights.
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
