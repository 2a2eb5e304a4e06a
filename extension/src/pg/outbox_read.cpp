// apex.unpack: the events of one block, as the contract names their columns.
//
// A block is named by its place and not handed over as bytes: what is in the outbox was written by
// capture, and no caller can make it read anything else.
#include "pg/block_events.h"
#include "pg/guard.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
}

namespace apex::pg {
namespace {

// Columns of apex.outbox_blocks that are read.
enum BlockAttribute : AttrNumber {
  kSeq = 1,
  kXid,
  kCapturedAt,
  kEvents,
  kBlock = 6,
};

// Kept from call to call of one query.
struct ReaderState {
  OutboxOids outbox;
  ShapeCache* shapes;
};

// A piece of events goes through several tuplestores, some ten megabytes each, which are freed when
// it has been read. Given back to the kernel every time, their pages cost a quarter of all the time
// that reading takes; so a reader's process, one for each pipeline, keeps them.
void KeepFreedMemory() {
#if defined(__GLIBC__)
  static bool kept = false;
  if (kept) return;
  kept = true;
  constexpr int kMebibyte = 1024 * 1024;
  mallopt(M_TRIM_THRESHOLD, 128 * kMebibyte);
  mallopt(M_MMAP_THRESHOLD, 32 * kMebibyte);
#endif
}

ReaderState* StateOf(FunctionCallInfo fcinfo) {
  if (fcinfo->flinfo->fn_extra == nullptr) {
    KeepFreedMemory();
    const MemoryContext query = fcinfo->flinfo->fn_mcxt;
    auto* state = static_cast<ReaderState*>(MemoryContextAllocZero(query, sizeof(ReaderState)));
    state->outbox = FindOutbox(get_namespace_oid("apex", false));
    state->shapes = MakeShapeCache(query);
    fcinfo->flinfo->fn_extra = state;
  }
  return static_cast<ReaderState*>(fcinfo->flinfo->fn_extra);
}

bool IsSlot(const OutboxOids& outbox, Oid table) {
  for (const Oid slot : outbox.slots) {
    if (slot == table) return true;
  }
  return false;
}

// False when this snapshot sees no block there. Everything is copied out of the page.
bool FetchBlock(StoredBlock* block, Oid table, ItemPointer place) {
  const Relation relation = table_open(table, AccessShareLock);
  TupleTableSlot* slot = table_slot_create(relation, nullptr);
  const bool found =
      ItemPointerGetBlockNumberNoCheck(place) < RelationGetNumberOfBlocks(relation) &&
      table_tuple_fetch_row_version(relation, place, GetActiveSnapshot(), slot);
  if (found) {
    bool is_null;
    block->last_seq = DatumGetInt64(slot_getattr(slot, kSeq, &is_null));
    block->xid = DatumGetFullTransactionId(slot_getattr(slot, kXid, &is_null));
    block->captured_at = DatumGetTimestampTz(slot_getattr(slot, kCapturedAt, &is_null));
    block->events = DatumGetInt32(slot_getattr(slot, kEvents, &is_null));
    // A copy, since records are read where they lie and the page's own is aligned for bytes only.
    block->bytes = PG_DETOAST_DATUM_COPY(slot_getattr(slot, kBlock, &is_null));
  }
  ExecDropSingleTupleTableSlot(slot);
  table_close(relation, NoLock);
  return found;
}

// The tuplestore takes arrays that it does not change.
void Return(const EventColumns& event, void* result) {
  const auto* set = static_cast<const ReturnSetInfo*>(result);
  tuplestore_putvalues(set->setResult, set->setDesc, const_cast<Datum*>(event.values),
                       const_cast<bool*>(event.nulls));
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_unpack) {
  using namespace apex::pg;
  InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
  ReaderState* state = StateOf(fcinfo);
  const Oid table = PG_GETARG_OID(0);
  if (!IsSlot(state->outbox, table)) {
    const char* name = get_rel_name(table);
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("relation %s is no slot of the outbox", name == nullptr ? "?" : name)));
  }
  StoredBlock block{};
  if (FetchBlock(&block, table, reinterpret_cast<ItemPointer>(PG_GETARG_POINTER(1)))) {
    ReadEvents(state->shapes, block, PG_GETARG_BOOL(2), Return, fcinfo->resultinfo);
  }
  return Datum{0};
}
