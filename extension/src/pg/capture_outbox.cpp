#include "pg/capture_outbox.h"

#include "pg/block_events.h"
#include "pg/guard.h"
#include "pg/outbox_table.h"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "utils/array.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
}

namespace apex::pg {
namespace {

// Long enough that the slot before the current one is drained, as a rule, when its turn to be
// emptied comes.
constexpr int64 kOutboxSlotSeconds = 600;

// Columns of apex.outbox_blocks, in the order of 30_capture.sql.
enum OutboxColumn {
  kSeq,
  kXid,
  kCapturedAt,
  kEvents,
  kMappings,
  kBlock,
  kOutboxColumns,
};

Datum ArrayOf(const int32* mappings, int count) {
  Datum elements[kBlockMappingsMax];
  for (int i = 0; i < count; i++) elements[i] = Int32GetDatum(mappings[i]);
  return PointerGetDatum(
      construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

void FillSlot(TupleTableSlot* slot, const OutboxBlock& block) {
  ExecClearTuple(slot);
  memset(slot->tts_isnull, false, sizeof(bool) * kOutboxColumns);
  slot->tts_values[kSeq] = Int64GetDatum(block.last_seq);
  slot->tts_values[kXid] = FullTransactionIdGetDatum(GetTopFullTransactionId());
  slot->tts_values[kCapturedAt] = TimestampTzGetDatum(block.began_at);
  slot->tts_values[kEvents] = Int32GetDatum(block.events);
  slot->tts_values[kMappings] = ArrayOf(block.mappings, block.mapping_count);
  slot->tts_values[kBlock] = PointerGetDatum(block.bytes);
  ExecStoreVirtualTuple(slot);
}

void InsertDirectly(const OutboxTable& table, Relation outbox) {
  // Only rollbacks leave room in the outbox, and TRUNCATE takes it: looking for it is not worth it.
  table_tuple_insert(outbox, table.tuple, GetCurrentCommandId(true), TABLE_INSERT_SKIP_FSM,
                     nullptr);
  Datum values[INDEX_MAX_KEYS];
  bool nulls[INDEX_MAX_KEYS];
  for (int i = 0; i < table.index_count; i++) {
    const OutboxIndex& known = table.indexes[i];
    const Relation index = index_open(known.oid, RowExclusiveLock);
    FormIndexDatum(known.info, table.tuple, nullptr, values, nulls);
    index_insert(index, values, nulls, &table.tuple->tts_tid, outbox, UNIQUE_CHECK_NO, false,
                 known.info);
    index_close(index, NoLock);
  }
  ExecClearTuple(table.tuple);
}

// Whatever else somebody has put on the outbox is the executor's to handle. The slot is a new one
// with a copy of everything: an index's expression may run code that captures.
void InsertByExecutor(Relation outbox, TupleTableSlot* tuple) {
  TupleTableSlot* slot = table_slot_create(outbox, nullptr);
  ExecCopySlot(slot, tuple);
  EState* estate = CreateExecutorState();
  ResultRelInfo* result = makeNode(ResultRelInfo);
  InitResultRelInfo(result, outbox, 1, nullptr, 0);
  ExecOpenIndices(result, false);
  PushActiveSnapshot(GetLatestSnapshot());

  table_tuple_insert(outbox, slot, GetCurrentCommandId(true), 0, nullptr);
#if PG_VERSION_NUM >= 160000
  ExecInsertIndexTuples(result, slot, estate, false, false, nullptr, NIL, false);
#else
  ExecInsertIndexTuples(result, slot, estate, false, false, nullptr, NIL);
#endif

  PopActiveSnapshot();
  ExecCloseIndices(result);
  ExecDropSingleTupleTableSlot(slot);
  FreeExecutorState(estate);
}

void Insert(const OutboxTable& table, Relation outbox) {
  if (table.plain) {
    InsertDirectly(table, outbox);
  } else {
    InsertByExecutor(outbox, table.tuple);
  }
}

// ---- The tables of version 1.0, until ALTER EXTENSION: an event is a row, with a draw of its own.
// ----

struct OneByOne {
  const OutboxTable* table;
  Relation outbox;
  Oid sequence;
  int events;
};

void InsertEvent(const EventColumns& event, void* state) {
  const auto* one = static_cast<const OneByOne*>(state);
  TupleTableSlot* slot = one->table->tuple;
  ExecClearTuple(slot);
  memcpy(slot->tts_values, event.values, sizeof(event.values));
  memcpy(slot->tts_isnull, event.nulls, sizeof(event.nulls));
  // An event that is alone may have been promised the version that was drawn.
  if (one->events > 1) {
    slot->tts_values[kEventSeq] = Int64GetDatum(nextval_internal(one->sequence, false));
  }
  ExecStoreVirtualTuple(slot);
  Insert(*one->table, one->outbox);
}

void InsertOneByOne(const OutboxTable& table, Relation outbox, Oid sequence,
                    const OutboxBlock& block) {
  const StoredBlock stored{reinterpret_cast<const struct varlena*>(block.bytes), block.last_seq,
                           GetTopFullTransactionId(), block.began_at, block.events};
  OneByOne state{&table, outbox, sequence, block.events};
  ReadEvents(MakeShapeCache(CurrentMemoryContext), stored, true, InsertEvent, &state);
}

// An update of the extension in this very transaction has made the tables anew.
Oid SlotTable(const OutboxOids& outbox, int slot) {
  const Oid table = outbox.slots[slot];
  if (IsKnownOutboxTable(slot, table) || SearchSysCacheExists1(RELOID, ObjectIdGetDatum(table)))
    return table;
  return FindOutbox(get_namespace_oid("apex", false)).slots[slot];
}

int OutboxSlotAt(TimestampTz now) {
  return static_cast<int>(now / (kOutboxSlotSeconds * USECS_PER_SEC) % kOutboxSlots);
}

}  // namespace

int CurrentOutboxSlot() { return OutboxSlotAt(GetCurrentTimestamp()); }

// The sequence and the slots come and go together, and of a slot that goes the backend hears.
bool OutboxIsThere(const OutboxOids& outbox) {
  for (int slot = 0; slot < kOutboxSlots; slot++) {
    if (IsKnownOutboxTable(slot, outbox.slots[slot])) return true;
  }
  return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(outbox.sequence));
}

int64 DrawVersions(const OutboxOids& outbox) {
  GetTopFullTransactionId();
  return nextval_internal(outbox.sequence, false);
}

void WriteBlock(const OutboxOids& outbox, const OutboxBlock& block) {
  // What may be toasted is inserted under a snapshot, and before the commit there is none any more.
  const bool needs_snapshot = !HaveRegisteredOrActiveSnapshot();
  if (needs_snapshot) PushActiveSnapshot(GetTransactionSnapshot());
  const int slot = CurrentOutboxSlot();
  const Relation relation = table_open(SlotTable(outbox, slot), RowExclusiveLock);
  const OutboxTable& table = *FindOutboxTable(slot, relation);
  const MemoryContext caller = MemoryContextSwitchTo(table.scratch);
  SET_VARSIZE(block.bytes, block.length);
  memcpy(block.bytes + VARHDRSZ, &kBlockFormat, sizeof(kBlockFormat));
  switch (RelationGetNumberOfAttributes(relation)) {
    case kOutboxColumns:
      FillSlot(table.tuple, block);
      Insert(table, relation);
      break;
    case kEventColumns: InsertOneByOne(table, relation, outbox.sequence, block); break;
    default:
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("apex_saga's library and its tables are of different versions"),
                      errhint("Run ALTER EXTENSION apex_saga UPDATE.")));
  }
  MemoryContextSwitchTo(caller);
  MemoryContextReset(table.scratch);
  table_close(relation, NoLock);
  if (needs_snapshot) PopActiveSnapshot();
}

}  // namespace apex::pg

APEX_FUNCTION(apex_outbox_slot) { PG_RETURN_INT32(apex::pg::CurrentOutboxSlot()); }
