// Events on their way into a block: a row's values as they are, or what was made of them.
#include "pg/kept_row.h"
#include "pg/outbox_buffer.h"
#include "pg/row_shape.h"

extern "C" {
#include "access/htup_details.h"
#include "utils/builtins.h"
}

namespace apex::pg {
namespace {

OutboxEvent StartEvent(const RowChange& change, const RowImage& row) {
  OutboxEvent event{};
  event.op = change.op;
  event.command = change.command;
  event.key = row.key;
  event.aggregate_key = row.aggregate_key;
  event.error = row.error;
  return event;
}

// NULL says "unchanged", so that a NULL of before is written as no bytes.
const bytea* OldEmbedding(const RowImage& before) {
  if (before.embedding != nullptr) return before.embedding;
  bytea* none = static_cast<bytea*>(palloc(VARHDRSZ));
  SET_VARSIZE(none, VARHDRSZ);
  return none;
}

OutboxEvent EncodeInsert(const CapturePlan& plan, const RowChange& change) {
  const RowImage after = EncodeRow(plan, change.after);
  OutboxEvent event = StartEvent(change, after);
  event.after = after.image;
  event.embedding = after.embedding;
  return event;
}

OutboxEvent EncodeDelete(const CapturePlan& plan, const RowChange& change) {
  // A delete needs no more than the key: an image that cannot be written does not hold it up.
  const RowImage before = EncodeRow(plan, change.before);
  OutboxEvent event = StartEvent(change, before);
  event.error = before.key_error;
  event.before = before.image;
  event.old_embedding = before.embedding;
  return event;
}

OutboxEvent EncodeUpdate(const CapturePlan& plan, const RowChange& change) {
  const RowImage before = EncodeRow(plan, change.before);
  const RowImage after = EncodeRow(plan, change.after);
  OutboxEvent event = StartEvent(change, after);
  if (event.error != nullptr) return event;
  // The stores want the new image even where the old one cannot be written any more.
  event.before = before.image;
  event.after = after.image;
  event.embedding = after.embedding;
  const bool same_embedding =
      plan.embedding_kind == EmbeddingKind::kNone || change.same[plan.column_count];
  event.old_embedding = same_embedding ? nullptr : OldEmbedding(before);
  return event;
}

void FillSame(char* at, const bool* same, int count) {
  memset(at, 0, static_cast<Size>(BITMAPLEN(count)));
  for (int i = 0; i < count; i++) {
    if (same[i]) at[i / 8] = static_cast<char>(at[i / 8] | 1 << i % 8);
  }
}

bool KeepValues(const CapturePlan& plan, const RowChange& change) {
  const RowShape& shape = plan.shape;
  if (!shape.keeps_values) return false;
  KeptRow before{};
  KeptRow after{};
  if (change.before.values != nullptr && !GatherRow(&before, shape, change.before, change.same))
    return false;
  if (change.after.values != nullptr && !GatherRow(&after, shape, change.after, nullptr))
    return false;

  RecordPlan record{};
  record.head.kind = RecordKind::kRow;
  record.head.op = change.op;
  record.head.command = change.command;
  if (before.values != nullptr) record.Add(kRowBefore, before.bytes);
  if (after.values != nullptr) record.Add(kRowAfter, after.bytes);
  if (change.same != nullptr) record.Add(kRowSame, static_cast<Size>(BITMAPLEN(shape.count)));
  char* fields[kFieldsMax];
  AppendRecord(plan, &record, fields);
  if (before.values != nullptr) WriteRow(fields[kRowBefore], before, shape);
  if (after.values != nullptr) WriteRow(fields[kRowAfter], after, shape);
  if (change.same != nullptr) FillSame(fields[kRowSame], change.same, shape.count);
  return true;
}

}  // namespace

OutboxEvent EncodeChange(const CapturePlan& plan, const RowChange& change, bool images) {
  if (!images)
    return StartEvent(change, EncodeKeys(plan, change.op == 'D' ? change.before : change.after));
  switch (change.op) {
    case 'U': return EncodeUpdate(plan, change);
    case 'D': return EncodeDelete(plan, change);
    default: return EncodeInsert(plan, change);
  }
}

void CaptureChange(const CapturePlan& plan, const RowChange& change) {
  if (!KeepValues(plan, change)) CaptureEvent(plan, EncodeChange(plan, change));
}

void CaptureEvent(const CapturePlan& plan, const OutboxEvent& event) {
  const text* error = event.error == nullptr ? nullptr : cstring_to_text(event.error);
  const void* datums[kFieldsMax] = {event.key,       event.aggregate_key, event.before, event.after,
                                    event.embedding, event.old_embedding, error};
  RecordPlan record{};
  record.head.kind = RecordKind::kWritten;
  record.head.op = event.op;
  record.head.command = event.command;
  for (int i = 0; i < kFieldsMax; i++) {
    if (datums[i] != nullptr) record.Add(i, VARSIZE_ANY(datums[i]));
  }
  char* fields[kFieldsMax];
  AppendRecord(plan, &record, fields);
  for (int i = 0; i < kFieldsMax; i++) {
    if (datums[i] != nullptr) memcpy(fields[i], datums[i], VARSIZE_ANY(datums[i]));
  }
}

}  // namespace apex::pg
