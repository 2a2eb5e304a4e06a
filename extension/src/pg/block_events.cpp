#include "pg/block_events.h"

#include "pg/capture_outbox.h"
#include "pg/kept_row.h"
#include "pg/row_shape.h"

extern "C" {
#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
}

namespace apex::pg {
namespace {

// A plan for rows of a shape that some block of this query had.
struct KnownShape {
  KnownShape* next;
  uint32 bytes_length;
  const char* bytes;
  const CapturePlan* plan;
};

}  // namespace

struct ShapeCache {
  MemoryContext context;
  KnownShape* shapes;
  MemoryContext event;  // Emptied after each event.
};

namespace {

struct OneEvent {
  const CapturePlan* plan;
  const char* traceparent;
  OutboxEvent event;
};

[[noreturn]] void RaiseMalformed() {
  ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a block of the outbox is malformed")));
  pg_unreachable();
}

const CapturePlan* FindShape(ShapeCache* cache, const Field& field) {
  for (const KnownShape* known = cache->shapes; known != nullptr; known = known->next) {
    if (known->bytes_length == field.bytes && memcmp(known->bytes, field.data, field.bytes) == 0)
      return known->plan;
  }
  const MemoryContext caller = MemoryContextSwitchTo(cache->context);
  auto* known = static_cast<KnownShape*>(palloc0(sizeof(KnownShape)));
  char* bytes = static_cast<char*>(palloc(field.bytes + 1));
  memcpy(bytes, field.data, field.bytes);
  known->plan = PlanForReading(bytes, field.bytes);
  if (known->plan == nullptr) RaiseMalformed();
  known->bytes = bytes;
  known->bytes_length = field.bytes;
  known->next = cache->shapes;
  cache->shapes = known;
  MemoryContextSwitchTo(caller);
  return known->plan;
}

RowValues Unpack(const RowShape& shape, const Field& field) {
  RowValues row{};
  if (field.data != nullptr && !ReadRow(&row, shape, field)) RaiseMalformed();
  return row;
}

OutboxEvent EncodeKept(const CapturePlan& plan, const Record& record, bool images) {
  const RowShape& shape = plan.shape;
  RowChange change{record.head.op, record.head.command, Unpack(shape, record.fields[kRowBefore]),
                   Unpack(shape, record.fields[kRowAfter]), nullptr};
  const bool needs_before = change.op == 'U' || change.op == 'D';
  const bool needs_after = change.op != 'D';
  if (shape.count == 0 || needs_before != (change.before.values != nullptr) ||
      needs_after != (change.after.values != nullptr)) {
    RaiseMalformed();
  }
  if (change.op == 'U') {
    const Field& bits = record.fields[kRowSame];
    if (bits.bytes != static_cast<uint32>(BITMAPLEN(shape.count))) RaiseMalformed();
    bool* same = static_cast<bool*>(palloc(static_cast<Size>(shape.count)));
    for (int i = 0; i < shape.count; i++) {
      same[i] = (bits.data[i / 8] >> i % 8 & 1) != 0;
      if (!same[i]) continue;
      change.before.values[i] = change.after.values[i];
      change.before.nulls[i] = change.after.nulls[i];
    }
    change.same = same;
  }
  return EncodeChange(plan, change, images);
}

const void* DatumField(const Record& record, WrittenField field) {
  const Field& bytes = record.fields[field];
  if (bytes.data != nullptr && bytes.bytes < VARHDRSZ) RaiseMalformed();
  return bytes.data;
}

OutboxEvent ReadWritten(const Record& record, bool images) {
  OutboxEvent event{};
  event.op = record.head.op;
  event.command = record.head.command;
  event.key = static_cast<const Jsonb*>(DatumField(record, kWrittenKey));
  event.aggregate_key = static_cast<const Jsonb*>(DatumField(record, kWrittenAggregateKey));
  if (!images) return event;
  event.before = static_cast<const Jsonb*>(DatumField(record, kWrittenBefore));
  event.after = static_cast<const Jsonb*>(DatumField(record, kWrittenAfter));
  event.embedding = static_cast<const bytea*>(DatumField(record, kWrittenEmbedding));
  event.old_embedding = static_cast<const bytea*>(DatumField(record, kWrittenOldEmbedding));
  if (const void* error = DatumField(record, kWrittenError); error != nullptr)
    event.error = text_to_cstring(static_cast<const text*>(error));
  return event;
}

OneEvent ReadEvent(ShapeCache* shapes, BlockReader* reader, const Record& record, bool images) {
  OneEvent one{};
  Record other;
  if (!reader->ReadBack(record.head.shape_distance, RecordKind::kShape, &other)) RaiseMalformed();
  one.plan = FindShape(shapes, other.fields[0]);
  if (record.head.trace_distance != 0) {
    if (!reader->ReadBack(record.head.trace_distance, RecordKind::kTraceparent, &other))
      RaiseMalformed();
    one.traceparent = pnstrdup(other.fields[0].data, other.fields[0].bytes);
  }
  one.event = record.head.kind == RecordKind::kRow ? EncodeKept(*one.plan, record, images)
                                                   : ReadWritten(record, images);
  return one;
}

struct Columns : EventColumns {
  void Set(EventColumn column, Datum value) {
    values[column] = value;
    nulls[column] = false;
  }
  void SetPointer(EventColumn column, const void* value) {
    values[column] = PointerGetDatum(value);
    nulls[column] = value == nullptr;
  }
  void SetText(EventColumn column, const char* value) {
    SetPointer(column, value == nullptr ? nullptr : cstring_to_text(value));
  }
};

void Fill(Columns* columns, const StoredBlock& block, const OneEvent& one, int64 seq) {
  const OutboxEvent& event = one.event;
  columns->Set(kEventSeq, Int64GetDatum(seq));
  columns->Set(kEventXid, FullTransactionIdGetDatum(block.xid));
  columns->Set(kEventCommand, Int32GetDatum(static_cast<int32>(event.command)));
  columns->Set(kEventRelation, ObjectIdGetDatum(one.plan->root));
  columns->Set(kEventMapping, Int32GetDatum(one.plan->mapping));
  columns->Set(kEventOp, CharGetDatum(event.op));
  columns->SetPointer(kEventKey, event.key);
  columns->Set(kEventAggregateRelation, ObjectIdGetDatum(one.plan->aggregate_relation));
  columns->nulls[kEventAggregateRelation] = event.aggregate_key == nullptr;
  columns->SetPointer(kEventAggregateKey, event.aggregate_key);
  columns->SetPointer(kEventBefore, event.before);
  columns->SetPointer(kEventAfter, event.after);
  columns->SetPointer(kEventEmbedding, event.embedding);
  columns->SetPointer(kEventOldEmbedding, event.old_embedding);
  columns->SetText(kEventError, event.error);
  columns->SetText(kEventTraceparent, one.traceparent);
  columns->Set(kEventCapturedAt, TimestampTzGetDatum(block.captured_at));
}

BlockReader Open(const StoredBlock& block) {
  uint32 format;
  const Size size = VARSIZE(block.bytes);
  if (size < kBlockHeadBytes) RaiseMalformed();
  memcpy(&format, VARDATA(block.bytes), sizeof(format));
  if (format != kBlockFormat) RaiseMalformed();
  return {reinterpret_cast<const char*>(block.bytes) + kBlockHeadBytes, size - kBlockHeadBytes};
}

}  // namespace

ShapeCache* MakeShapeCache(MemoryContext context) {
  auto* cache = static_cast<ShapeCache*>(MemoryContextAllocZero(context, sizeof(ShapeCache)));
  cache->context = context;
  cache->event = AllocSetContextCreate(context, "apex event read", ALLOCSET_DEFAULT_SIZES);
  return cache;
}

void ReadEvents(ShapeCache* shapes, const StoredBlock& block, bool images,
                void (*visit)(const EventColumns& event, void* state), void* state) {
  BlockReader reader = Open(block);
  int64 seq = block.last_seq - block.events;
  Record record;
  while (reader.Next(&record)) {
    if (record.head.kind != RecordKind::kRow && record.head.kind != RecordKind::kWritten) continue;
    CHECK_FOR_INTERRUPTS();
    const MemoryContext caller = MemoryContextSwitchTo(shapes->event);
    Columns columns;
    Fill(&columns, block, ReadEvent(shapes, &reader, record, images), ++seq);
    visit(columns, state);
    MemoryContextSwitchTo(caller);
    MemoryContextReset(shapes->event);
  }
  if (reader.malformed() || seq != block.last_seq) RaiseMalformed();
}

}  // namespace apex::pg
