#include "pg/key_scan.h"

#include "pg/guard.h"

extern "C" {
#include "access/genam.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

namespace apex::pg {
namespace {

// One column of the index, compared with the search slot's value.
void SetScanKey(ScanKey entry, int flags, Relation index, int column, StrategyNumber strategy,
                RegProcedure procedure, const TupleTableSlot* search) {
  const AttrNumber attribute = index->rd_index->indkey.values[column];
  ScanKeyEntryInitialize(entry, flags, static_cast<AttrNumber>(column + 1), strategy,
                         index->rd_opcintype[column], index->rd_indcollation[column], procedure,
                         search->tts_values[attribute - 1]);
}

Oid OrderProcedure(Relation index, int column) {
  const Oid type = index->rd_opcintype[column];
  return get_opfamily_proc(index->rd_opfamily[column], type, type, BTORDER_PROC);
}

RegProcedure OperatorProcedure(Relation index, int column, StrategyNumber strategy) {
  const Oid type = index->rd_opcintype[column];
  return get_opcode(
      get_opfamily_member(index->rd_opfamily[column], type, type, static_cast<int16>(strategy)));
}

// (a, b) = (x, y), column by column. Returns how many scan keys it is.
int EqualKeys(Relation index, const TupleTableSlot* search, ScanKey keys) {
  const int count = IndexRelationGetNumberOfKeyAttributes(index);
  for (int i = 0; i < count; i++) {
    SetScanKey(&keys[i], 0, index, i, BTEqualStrategyNumber,
               OperatorProcedure(index, i, BTEqualStrategyNumber), search);
  }
  return count;
}

// (a, b) > (x, y) as one row comparison, which the index begins at. A btree takes no row of one.
int BehindKey(Relation index, const TupleTableSlot* search, ScanKey keys) {
  const int count = IndexRelationGetNumberOfKeyAttributes(index);
  if (count == 1) {
    SetScanKey(&keys[0], 0, index, 0, BTGreaterStrategyNumber,
               OperatorProcedure(index, 0, BTGreaterStrategyNumber), search);
    return 1;
  }
  const ScanKey members = &keys[1];
  for (int i = 0; i < count; i++) {
    SetScanKey(&members[i], i == count - 1 ? SK_ROW_MEMBER | SK_ROW_END : SK_ROW_MEMBER, index, i,
               BTGreaterStrategyNumber, OrderProcedure(index, i), search);
  }
  MemSet(&keys[0], 0, sizeof(ScanKeyData));
  keys[0].sk_flags = SK_ROW_HEADER;
  keys[0].sk_attno = members[0].sk_attno;
  keys[0].sk_strategy = BTGreaterStrategyNumber;
  keys[0].sk_argument = PointerGetDatum(members);
  return 1;
}

}  // namespace

KeyTexts ReadKey(ArrayType* array) {
  KeyTexts key{};
  deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &key.values, &key.nulls, &key.count);
  return key;
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

Oid PrimaryKeyIndex(Relation relation) {
#if PG_VERSION_NUM >= 180000
  return RelationGetPrimaryKeyIndex(relation, false);
#else
  return RelationGetPrimaryKeyIndex(relation);
#endif
}

bool ScanByKey(Relation relation, KeyRange range, const KeyTexts* key, Snapshot snapshot,
               RowVisitor visit, void* state) {
  const CapturePlan& plan = *FindPlan(relation);
  const Relation index = index_open(PrimaryKeyIndex(relation), AccessShareLock);
  ScanKeyData keys[INDEX_MAX_KEYS + 1];
  int key_count = 0;
  TupleTableSlot* search = nullptr;
  if (key != nullptr) {
    search = MakeSearchSlot(plan, relation, *key);
    key_count =
        range == KeyRange::kEqual ? EqualKeys(index, search, keys) : BehindKey(index, search, keys);
  }
  TupleTableSlot* row = table_slot_create(relation, nullptr);
  PushActiveSnapshot(GetLatestSnapshot());
  if (snapshot == nullptr) snapshot = GetActiveSnapshot();
#if PG_VERSION_NUM >= 180000
  const IndexScanDesc scan = index_beginscan(relation, index, snapshot, nullptr, key_count, 0);
#else
  const IndexScanDesc scan = index_beginscan(relation, index, snapshot, key_count, 0);
#endif
  index_rescan(scan, keys, key_count, nullptr, 0);
  bool whole = true;
  while (whole && index_getnext_slot(scan, ForwardScanDirection, row)) {
    CHECK_FOR_INTERRUPTS();
    whole = visit(plan, relation, row, state);
  }
  index_endscan(scan);
  PopActiveSnapshot();
  ExecDropSingleTupleTableSlot(row);
  if (search != nullptr) ExecDropSingleTupleTableSlot(search);
  index_close(index, NoLock);
  return whole;
}

List* LeavesFrom(Relation root, Oid first, LOCKMODE lock) {
  if (root->rd_rel->relkind != RELKIND_PARTITIONED_TABLE) {
    return list_make1_oid(RelationGetRelid(root));
  }
  List* leaves = NIL;
  ListCell* cell;
  foreach (cell, find_all_inheritors(RelationGetRelid(root), lock, nullptr)) {
    const Oid leaf = lfirst_oid(cell);
    if (leaf >= first && get_rel_relkind(leaf) == RELKIND_RELATION) {
      leaves = lappend_oid(leaves, leaf);
    }
  }
  list_sort(leaves, list_oid_cmp);
  return leaves;
}

}  // namespace apex::pg
