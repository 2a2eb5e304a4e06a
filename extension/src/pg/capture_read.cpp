// Rows as capture would write them, read and not sent: what `apex verify` compares with the stores.
#include "pg/capture.h"
#include "pg/guard.h"
#include "pg/key_scan.h"
#include "pg/owner.h"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
}

namespace apex::pg {
namespace {

// A page of wide rows ends before its rows_max. Counted in the memory that encoding them took.
constexpr Size kPageBytesMax = Size{32} * 1024 * 1024;

enum Column { kPart, kKey, kImage, kEmbedding, kError, kStamp, kColumns };

struct RowPage {
  ReturnSetInfo* result;
  int rows_left;
  Size bytes;
  MemoryContext row_memory;
};

// Tells whether a row was changed between two looks, even if it was changed back.
const char* StampOf(HeapTuple tuple) {
  return psprintf("%u:%u,%u", HeapTupleHeaderGetRawXmin(tuple->t_data),
                  ItemPointerGetBlockNumber(&tuple->t_self),
                  ItemPointerGetOffsetNumber(&tuple->t_self));
}

void PutRow(const CapturePlan& plan, Relation relation, TupleTableSlot* slot,
            const ReturnSetInfo* result) {
  bool should_free;
  const HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
  const RowImage row = EncodeRow(plan, TakeApart(tuple, RelationGetDescr(relation)));
  const bool whole = row.error == nullptr;
  Datum values[kColumns] = {ObjectIdGetDatum(RelationGetRelid(relation)),
                            JsonbPGetDatum(row.key),
                            PointerGetDatum(row.image),
                            PointerGetDatum(row.embedding),
                            whole ? 0 : CStringGetTextDatum(row.error),
                            CStringGetTextDatum(StampOf(tuple))};
  const bool nulls[kColumns] = {false, false, !whole, !whole || row.embedding == nullptr,
                                whole, false};
  tuplestore_putvalues(result->setResult, result->setDesc, values, const_cast<bool*>(nulls));
}

bool VisitForPage(const CapturePlan& plan, Relation relation, TupleTableSlot* row, void* state) {
  RowPage& page = *static_cast<RowPage*>(state);
  MemoryContextReset(page.row_memory);
  const MemoryContext before = MemoryContextSwitchTo(page.row_memory);
  PutRow(plan, relation, row, page.result);
  page.bytes += MemoryContextMemAllocated(page.row_memory, true);
  MemoryContextSwitchTo(before);
  return --page.rows_left > 0 && page.bytes < kPageBytesMax;
}

void ReadLeaf(Oid table, KeyRange range, const KeyTexts* key, RowPage& page) {
  const Relation leaf = table_open(table, NoLock);
  const CapturePlan& plan = *FindPlan(leaf);
  if (key != nullptr) CheckKey(plan, *key, leaf);
  ScanByKey(leaf, range, key, nullptr, VisitForPage, &page);
  table_close(leaf, NoLock);
}

RowPage StartPage(FunctionCallInfo fcinfo, int rows_max) {
  InitMaterializedSRF(fcinfo, 0);
  return {reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), rows_max, 0,
          AllocSetContextCreate(CurrentMemoryContext, "apex read row", ALLOCSET_DEFAULT_SIZES)};
}

void ReadRows(Oid table, Oid part, const KeyTexts* after, RowPage& page) {
  const Relation root = table_open(table, AccessShareLock);
  ListCell* cell;
  foreach (cell, LeavesFrom(root, part, AccessShareLock)) {
    const Oid leaf = lfirst_oid(cell);
    if (page.rows_left <= 0 || page.bytes >= kPageBytesMax) break;
    ReadLeaf(leaf, KeyRange::kBehind, leaf == part ? after : nullptr, page);
  }
  table_close(root, NoLock);
}

void ReadRow(Oid table, const KeyTexts& key, RowPage& page) {
  const Relation root = table_open(table, AccessShareLock);
  CheckKey(*FindPlan(root), key, root);
  ListCell* cell;
  foreach (cell, LeavesFrom(root, InvalidOid, AccessShareLock)) {
    if (page.rows_left > 0) ReadLeaf(lfirst_oid(cell), KeyRange::kEqual, &key, page);
  }
  table_close(root, NoLock);
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_read_rows) {
  using namespace apex::pg;
  RowPage page = StartPage(fcinfo, PG_GETARG_INT32(3));
  KeyTexts after{};
  if (!PG_ARGISNULL(2)) after = ReadKey(PG_GETARG_ARRAYTYPE_P(2));
  const Oid part = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
  const Caller caller = BecomeOwner(PG_GETARG_OID(0));
  ReadRows(PG_GETARG_OID(0), part, after.count > 0 ? &after : nullptr, page);
  ReturnTo(caller);
  MemoryContextDelete(page.row_memory);
  return 0;
}

APEX_FUNCTION(apex_read_row) {
  using namespace apex::pg;
  RowPage page = StartPage(fcinfo, 1);
  const KeyTexts key = ReadKey(PG_GETARG_ARRAYTYPE_P(1));
  const Caller caller = BecomeOwner(PG_GETARG_OID(0));
  ReadRow(PG_GETARG_OID(0), key, page);
  ReturnTo(caller);
  MemoryContextDelete(page.row_memory);
  return 0;
}
