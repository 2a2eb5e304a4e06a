#include "pg/capture_outbox.h"

#include "pg/guard.h"
#include "pg/module.h"
#include "pg/outbox_table.h"
#include "pg/wakeup.h"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
}

namespace apex::pg {
namespace {

// Long enough that the slot before the current one is drained, as a rule, when its turn to be
// emptied comes.
constexpr int64 kOutboxSlotSeconds = 600;

// Columns of apex.outbox, in the order of 30_capture.sql.
enum OutboxColumn {
  kSeq,
  kXid,
  kCommand,
  kRelation,
  kMapping,
  kOp,
  kKey,
  kAggregateRelation,
  kAggregateKey,
  kBefore,
  kAfter,
  kEmbedding,
  kOldEmbedding,
  kError,
  kTraceparent,
  kCapturedAt,
  kOutboxColumns,
};

void SetPointer(TupleTableSlot* slot, OutboxColumn column, const void* value) {
  slot->tts_isnull[column] = value == nullptr;
  slot->tts_values[column] = PointerGetDatum(value);
}

void SetText(TupleTableSlot* slot, OutboxColumn column, const char* value) {
  SetPointer(slot, column, value == nullptr ? nullptr : cstring_to_text(value));
}

void Set(TupleTableSlot* slot, OutboxColumn column, Datum value) {
  slot->tts_isnull[column] = false;
  slot->tts_values[column] = value;
}

void FillSlot(TupleTableSlot* slot, const CapturePlan& plan, const OutboxEvent& event, int64 seq,
              TimestampTz now) {
  ExecClearTuple(slot);
  Set(slot, kSeq, Int64GetDatum(seq));
  Set(slot, kXid, FullTransactionIdGetDatum(GetTopFullTransactionId()));
  Set(slot, kCommand, Int32GetDatum(static_cast<int32>(event.command)));
  Set(slot, kRelation, ObjectIdGetDatum(plan.root));
  Set(slot, kMapping, Int32GetDatum(plan.mapping));
  Set(slot, kOp, CharGetDatum(event.op));
  SetPointer(slot, kKey, event.key);
  Set(slot, kAggregateRelation, ObjectIdGetDatum(plan.aggregate_relation));
  slot->tts_isnull[kAggregateRelation] = event.aggregate_key == nullptr;
  SetPointer(slot, kAggregateKey, event.aggregate_key);
  SetPointer(slot, kBefore, event.before);
  SetPointer(slot, kAfter, event.after);
  SetPointer(slot, kEmbedding, event.embedding);
  SetPointer(slot, kOldEmbedding, event.old_embedding);
  SetText(slot, kError, event.error);
  SetText(slot, kTraceparent, traceparent[0] == '\0' ? nullptr : traceparent);
  Set(slot, kCapturedAt, TimestampTzGetDatum(now));
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

// Whatever else somebody has put on the outbox is the executor's to handle. The slot is a new one:
// an index's expression may run code that captures.
void InsertByExecutor(Relation outbox, const TupleTableSlot* tuple) {
  TupleTableSlot* slot = table_slot_create(outbox, nullptr);
  ExecClearTuple(slot);
  memcpy(slot->tts_values, tuple->tts_values, sizeof(Datum) * kOutboxColumns);
  memcpy(slot->tts_isnull, tuple->tts_isnull, sizeof(bool) * kOutboxColumns);
  ExecStoreVirtualTuple(slot);
  EState* estate = CreateExecutorState();
  ResultRelInfo* result = makeNode(ResultRelInfo);
  InitResultRelInfo(result, outbox, 1, nullptr, 0);
  ExecOpenIndices(result, false);

  table_tuple_insert(outbox, slot, GetCurrentCommandId(true), 0, nullptr);
#if PG_VERSION_NUM >= 160000
  ExecInsertIndexTuples(result, slot, estate, false, false, nullptr, NIL, false);
#else
  ExecInsertIndexTuples(result, slot, estate, false, false, nullptr, NIL);
#endif

  ExecCloseIndices(result);
  ExecDropSingleTupleTableSlot(slot);
  FreeExecutorState(estate);
}

int OutboxSlotAt(TimestampTz now) {
  return static_cast<int>(now / (kOutboxSlotSeconds * USECS_PER_SEC) % kOutboxSlots);
}

}  // namespace

int CurrentOutboxSlot() { return OutboxSlotAt(GetCurrentTimestamp()); }

int64 DrawSeq(const CapturePlan& plan) {
  GetTopFullTransactionId();
  return nextval_internal(plan.outbox.sequence, false);
}

void WriteEvent(const CapturePlan& plan, const OutboxEvent& event, int64 seq) {
  const TimestampTz now = GetCurrentTimestamp();
  const int slot = OutboxSlotAt(now);
  const Relation outbox = table_open(plan.outbox.slots[slot], RowExclusiveLock);
  if (RelationGetNumberOfAttributes(outbox) != kOutboxColumns) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("apex_saga's library and its tables are of different versions"),
                    errhint("Run ALTER EXTENSION apex_saga UPDATE.")));
  }
  const OutboxTable& table = *FindOutboxTable(slot, outbox);
  FillSlot(table.tuple, plan, event, seq, now);
  if (table.plain) {
    InsertDirectly(table, outbox);
  } else {
    InsertByExecutor(outbox, table.tuple);
  }
  table_close(outbox, NoLock);
  apex_wakeup_note_capture();
}

}  // namespace apex::pg

APEX_FUNCTION(apex_outbox_slot) { PG_RETURN_INT32(apex::pg::CurrentOutboxSlot()); }
