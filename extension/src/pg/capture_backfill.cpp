// Many rows as they are now, a bounded piece in a transaction: what a backfill is made of (rule
// E7).
//
// Nothing here waits for another transaction: a row that somebody holds is left for later.
#include "pg/attach.h"
#include "pg/capture_refresh.h"
#include "pg/guard.h"
#include "pg/outbox_buffer.h"
#include "pg/owner.h"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace apex::pg {
namespace {

// A piece of wide rows ends before its rows_max. Counted in the memory that encoding them took.
constexpr Size kPieceBytesMax = Size{64} * 1024 * 1024;

enum class Outcome {
  kSent,
  kHeld,       ///< Somebody else has it locked, or is inserting it.
  kOvertaken,  ///< Changed since the scan's snapshot: that change was captured itself.
};

Outcome SendUnlessHeld(const CapturePlan& plan, Relation relation, const TupleTableSlot* row,
                       TupleTableSlot* locked) {
  ItemPointerData place = row->tts_tid;
  TM_FailureData failure;
  const TM_Result result = table_tuple_lock(
      relation, &place, GetActiveSnapshot(), locked, GetCurrentCommandId(false),
      LockTupleNoKeyExclusive, LockWaitSkip, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
  if (result == TM_WouldBlock) return Outcome::kHeld;
  if (result != TM_Ok) return Outcome::kOvertaken;
  CaptureRefreshed(plan, relation, locked);
  return Outcome::kSent;
}

struct Piece {
  int rows_left;
  Size bytes;
  int64 sent;
  ArrayBuildState* held;  ///< Keys.
  Datum last_key;         ///< Of the row that ended the piece.
  TupleTableSlot* locked;
  MemoryContext row_memory;
  MemoryContext memory;
};

// The key of a scanned row, in the piece's memory. One that cannot be written is no place to go on
// from.
Datum KeyOf(const Piece& piece, const CapturePlan& plan, Relation relation, TupleTableSlot* row) {
  bool should_free;
  const HeapTuple tuple = ExecFetchSlotHeapTuple(row, false, &should_free);
  const RowValues values = TakeApart(tuple, RelationGetDescr(relation));
  for (int i = 0; i < RelationGetNumberOfAttributes(relation); i++) {
    bool in_key = false;
    for (int k = 0; k < plan.key_count; k++) in_key |= plan.key[k].attribute == i + 1;
    if (!in_key) values.nulls[i] = true;
  }
  const RowImage image = EncodeRow(plan, values);
  if (image.key_error != nullptr) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
             errmsg("a key of table %s cannot be written", RelationGetRelationName(relation)),
             errdetail("%s.", image.key_error)));
  }
  const MemoryContext before = MemoryContextSwitchTo(piece.memory);
  const Datum key = datumCopy(JsonbPGetDatum(image.key), false, -1);
  MemoryContextSwitchTo(before);
  return key;
}

bool VisitForPiece(const CapturePlan& plan, Relation relation, TupleTableSlot* row, void* state) {
  Piece& piece = *static_cast<Piece*>(state);
  MemoryContextReset(piece.row_memory);
  const MemoryContext before = MemoryContextSwitchTo(piece.row_memory);
  const Outcome outcome = SendUnlessHeld(plan, relation, row, piece.locked);
  if (outcome == Outcome::kSent) piece.sent++;
  if (outcome == Outcome::kHeld) {
    piece.held = accumArrayResult(piece.held, KeyOf(piece, plan, relation, row), false, JSONBOID,
                                  piece.memory);
  }
  piece.rows_left--;
  piece.bytes += MemoryContextMemAllocated(piece.row_memory, true);
  const bool go_on = piece.rows_left > 0 && piece.bytes < kPieceBytesMax;
  if (!go_on) piece.last_key = KeyOf(piece, plan, relation, row);
  MemoryContextSwitchTo(before);
  return go_on;
}

// What the plpgsql around it writes down. `part` 0: the table's last row has been seen.
struct Place {
  Oid part;
  Datum key;
};

Place SendPiece(Relation root, Oid part, const KeyTexts* after, Piece& piece) {
  ListCell* cell;
  foreach (cell, LeavesFrom(root, part, RowShareLock)) {
    const Relation leaf = table_open(lfirst_oid(cell), NoLock);
    const CapturePlan& plan = *FindPlan(leaf);
    const KeyTexts* from = RelationGetRelid(leaf) == part ? after : nullptr;
    if (from != nullptr) CheckKey(plan, *from, leaf);
    piece.locked = table_slot_create(leaf, nullptr);
    const bool whole = ScanByKey(leaf, KeyRange::kBehind, from, nullptr, VisitForPiece, &piece);
    ExecDropSingleTupleTableSlot(piece.locked);
    const Oid here = RelationGetRelid(leaf);
    table_close(leaf, NoLock);
    if (!whole) return {here, piece.last_key};
  }
  return {InvalidOid, 0};
}

// Sees what is not committed yet: a row that is being inserted may already have a version, and one
// lower than that of a delete drawn now.
struct Search {
  SnapshotData snapshot;
  bool found;
  Outcome outcome;
  TupleTableSlot* locked;
};

bool VisitForSearch(const CapturePlan& plan, Relation relation, TupleTableSlot* row, void* state) {
  Search& search = *static_cast<Search*>(state);
  const bool being_inserted = TransactionIdIsValid(search.snapshot.xmin);
  search.found = true;
  search.outcome =
      being_inserted ? Outcome::kHeld : SendUnlessHeld(plan, relation, row, search.locked);
  return false;
}

// False: somebody holds the row.
bool SendOne(Relation root, const KeyTexts& key) {
  const CapturePlan& root_plan = *FindPlan(root);
  CheckKey(root_plan, key, root);
  const int64 delete_seq = DrawBeforeSearch(root_plan);
  Search search{};
  InitDirtySnapshot(search.snapshot);
  ListCell* cell;
  foreach (cell, LeavesFrom(root, InvalidOid, RowShareLock)) {
    const Relation leaf = table_open(lfirst_oid(cell), NoLock);
    if (!search.found) {
      search.locked = table_slot_create(leaf, nullptr);
      ScanByKey(leaf, KeyRange::kEqual, &key, &search.snapshot, VisitForSearch, &search);
      ExecDropSingleTupleTableSlot(search.locked);
    }
    table_close(leaf, NoLock);
  }
  if (!search.found) WriteVanished(*FindPlan(root), root, key, delete_seq);
  WriteIfCommitting();
  return !search.found || search.outcome != Outcome::kHeld;
}

Datum RefreshPiece(FunctionCallInfo fcinfo) {
  enum Column { kPart, kKey, kSent, kHeld, kColumns };
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
    elog(ERROR, "apex.refresh_piece returns a row");
  }
  const Oid table = PG_GETARG_OID(0);
  const Oid part = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
  KeyTexts after{};
  if (!PG_ARGISNULL(2)) after = ReadKey(PG_GETARG_ARRAYTYPE_P(2));

  Piece piece{};
  piece.rows_left = PG_GETARG_INT32(3);
  piece.memory = CurrentMemoryContext;
  piece.row_memory =
      AllocSetContextCreate(CurrentMemoryContext, "apex backfill row", ALLOCSET_DEFAULT_SIZES);
  const Caller caller = BecomeOwner(table);
  const Relation root = table_open(table, RowShareLock);
  const Place place = SendPiece(root, part, after.count > 0 ? &after : nullptr, piece);
  WriteIfCommitting();
  table_close(root, NoLock);
  ReturnTo(caller);
  MemoryContextDelete(piece.row_memory);

  Datum values[kColumns] = {ObjectIdGetDatum(place.part), place.key, Int64GetDatum(piece.sent), 0};
  bool nulls[kColumns] = {place.part == InvalidOid, place.key == 0, false, piece.held == nullptr};
  if (piece.held != nullptr) {
    values[kHeld] = makeArrayResult(piece.held, CurrentMemoryContext);
  }
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_backfill) {
  apex::pg::CheckTableGiven(fcinfo);
  apex::pg::CheckMayRefresh(PG_GETARG_OID(0));
  apex::pg::CallWithoutContext(fcinfo, "start_backfill");
  PG_RETURN_VOID();
}

APEX_FUNCTION(apex_refresh_piece) { return apex::pg::RefreshPiece(fcinfo); }

APEX_FUNCTION(apex_refresh_unless_held) {
  const Oid table = PG_GETARG_OID(0);
  const apex::pg::KeyTexts key = apex::pg::ReadKey(PG_GETARG_ARRAYTYPE_P(1));
  const apex::pg::Caller caller = apex::pg::BecomeOwner(table);
  const Relation root = table_open(table, RowShareLock);
  const bool sent = apex::pg::SendOne(root, key);
  table_close(root, NoLock);
  apex::pg::ReturnTo(caller);
  PG_RETURN_BOOL(sent);
}
