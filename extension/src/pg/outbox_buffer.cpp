#include "pg/outbox_buffer.h"

#include <algorithm>

#include "pg/capture_outbox.h"
#include "pg/guard.h"
#include "pg/module.h"
#include "pg/wakeup.h"

extern "C" {
#include "access/xact.h"
#include "tcop/cmdtag.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
}

namespace apex::pg {
namespace {

// What the buffer keeps between transactions.
constexpr Size kBufferBytesKept = Size{16} * 1024;
constexpr int kShapesRemembered = 4;

struct ShapePlace {
  uint64 serial;  // 0: none
  Size at;
};

// Events of one level that become one block. Only the newest of a level takes events.
struct Segment {
  SubTransactionId owner;
  SubTransactionId written_by;  // Its rows are in the outbox if this subtransaction commits.
  OutboxOids outbox;
  Size start;
  int events;
  int64 last_seq;  // 0: not drawn yet, so that it still takes events.
  TimestampTz began_at;
  int mapping_count;
  int32 mappings[kBlockMappingsMax];
  ShapePlace shapes[kShapesRemembered];
  int next_shape;
  Size trace_at;  // 0: none
};

MemoryContext context = nullptr;
char* bytes = nullptr;
Size capacity = 0;
Size used = 0;
Segment* segments = nullptr;
int segment_count = 0;
int segment_capacity = 0;
bool writing = false;
// What was pending before the commit is written, or may be: nobody comes by for what is captured
// now.
bool committing = false;

void Reset() {
  used = 0;
  segment_count = 0;
  writing = false;
  committing = false;
}

// What a large transaction before this one needed.
void GiveBack() {
  if (segment_count != 0 || capacity <= kBufferBytesKept) return;
  pfree(bytes);
  bytes = nullptr;
  capacity = 0;
}

void EnsureRoom(Size more) {
  if (used + more <= capacity) return;
  const Size wanted = std::max({kBufferBytesKept, 2 * capacity, used + more});
  bytes = static_cast<char*>(bytes == nullptr ? MemoryContextAllocHuge(context, wanted)
                                              : repalloc_huge(bytes, wanted));
  // What lies between records goes into the outbox, too: it may be what an earlier block left here,
  // but not what somebody else left in this memory.
  memset(bytes + capacity, 0, wanted - capacity);
  capacity = wanted;
}

Segment* PushSegment(const CapturePlan& plan) {
  if (context == nullptr) {
    context = AllocSetContextCreate(TopMemoryContext, "apex pending events", ALLOCSET_SMALL_SIZES);
  }
  GiveBack();
  if (segment_count == segment_capacity) {
    const int wanted = std::max(8, 2 * segment_capacity);
    const Size size = sizeof(Segment) * static_cast<Size>(wanted);
    segments = static_cast<Segment*>(segments == nullptr ? MemoryContextAllocHuge(context, size)
                                                         : repalloc_huge(segments, size));
    segment_capacity = wanted;
  }
  EnsureRoom(kBlockHeadBytes);
  Segment* segment = &segments[segment_count];
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): where there is room there are segments
  *segment = {};
  segment->owner = GetCurrentSubTransactionId();
  segment->outbox = plan.outbox;
  segment->start = used;
  segment->began_at = GetCurrentTimestamp();
  used += kBlockHeadBytes;
  segment_count++;
  return segment;
}

Size EndOf(int index) { return index + 1 < segment_count ? segments[index + 1].start : used; }

bool HasMapping(const Segment& segment, int32 mapping) {
  const int32* end = segment.mappings + segment.mapping_count;
  return std::find(segment.mappings, end, mapping) != end;
}

void Draw(Segment* segment) {
  if (segment->last_seq == 0 && OutboxIsThere(segment->outbox))
    segment->last_seq = DrawVersions(segment->outbox);
}

void Write(int index) {
  const Segment segment = segments[index];
  char* start = bytes + segment.start;
  const OutboxBlock block{start,
                          EndOf(index) - segment.start,
                          segment.events,
                          segment.last_seq,
                          segment.began_at,
                          segment.mapping_count,
                          segment.mappings};
  WriteBlock(segment.outbox, block);
}

// Where the segments of this owner begin that end there.
int FirstOf(SubTransactionId owner, int end) {
  while (end > 0 && segments[end - 1].owner == owner) end--;
  return end;
}

// Versions follow the order of capture: what lies below is drawn first.
void DrawBelow(int end) {
  for (int i = 0; i < end; i++) Draw(&segments[i]);
}

// Whatever a strange index of the outbox makes its own insertion capture is appended meanwhile, and
// written as well.
int64 WriteLevel() {
  if (writing) return 0;
  int64 last_seq = 0;
  writing = true;
  const int first = FirstOf(GetCurrentSubTransactionId(), segment_count);
  DrawBelow(first);
  for (int i = first; i < segment_count; i++) {
    if (OutboxIsThere(segments[i].outbox)) {
      Draw(&segments[i]);
      Write(i);
      last_seq = segments[i].last_seq;
    }
  }
  if (first < segment_count) {
    used = segments[first].start;
    segment_count = first;
  }
  writing = false;
  return last_seq;
}

bool Fits(const Segment& segment, Size more, int32 mapping) {
  if (segment.events == 0) return true;
  return used - segment.start + more <= kBlockBytesMax && segment.events < kBlockEventsMax &&
         (segment.mapping_count < kBlockMappingsMax || HasMapping(segment, mapping));
}

bool IsOpenFor(const Segment& segment, const CapturePlan& plan) {
  return segment.owner == GetCurrentSubTransactionId() && segment.last_seq == 0 &&
         segment.outbox.sequence == plan.outbox.sequence;
}

Segment* SegmentFor(const CapturePlan& plan, Size more) {
  Segment* top = segment_count == 0 ? nullptr : &segments[segment_count - 1];
  if (top != nullptr && IsOpenFor(*top, plan)) {
    if (Fits(*top, more, plan.mapping)) return top;
    WriteLevel();
  }
  return PushSegment(plan);
}

// A record that events point back to.
Size AppendPlain(RecordKind kind, const char* data, Size length) {
  RecordPlan record{};
  record.head.kind = kind;
  record.Add(0, length);
  char* fields[kFieldsMax];
  const Size at = used;
  record.Place(bytes + at, fields);
  memcpy(fields[0], data, length);
  used += record.head.bytes;
  return at;
}

Size ShapeAt(Segment* segment, const RowShape& shape) {
  for (const ShapePlace& place : segment->shapes) {
    if (place.serial == shape.serial) return place.at;
  }
  ShapePlace* place = &segment->shapes[segment->next_shape];
  segment->next_shape = (segment->next_shape + 1) % kShapesRemembered;
  *place = {shape.serial, AppendPlain(RecordKind::kShape, shape.bytes, shape.bytes_length)};
  return place->at;
}

Size TraceAt(Segment* segment) {
  constexpr Size kTextAt = AlignRecord(sizeof(RecordHead) + sizeof(uint32));
  const Size length = strlen(traceparent) + 1;
  if (segment->trace_at == 0 || strcmp(bytes + segment->trace_at + kTextAt, traceparent) != 0) {
    segment->trace_at = AppendPlain(RecordKind::kTraceparent, traceparent, length);
  }
  return segment->trace_at;
}

// ---- Subtransactions ----

// What a level that ends hands to the one around it may go into the same block.
bool CanJoin(const Segment& outer, const Segment& inner, Size inner_bytes) {
  if (outer.last_seq != 0 || inner.last_seq != 0) return false;
  if (outer.outbox.sequence != inner.outbox.sequence) return false;
  if (inner.start - outer.start + inner_bytes > kBlockBytesMax) return false;
  int mappings = outer.mapping_count;
  for (int i = 0; i < inner.mapping_count; i++) {
    if (!HasMapping(outer, inner.mappings[i])) mappings++;
  }
  return outer.events + inner.events <= kBlockEventsMax && mappings <= kBlockMappingsMax;
}

bool MayStay(int outer, int own) {
  if (segments[outer].last_seq != 0) return false;
  return own == segment_count ||
         CanJoin(segments[own - 1], segments[own], EndOf(own) - segments[own].start);
}

// Before a subtransaction commits: the outer level's segments are written in its name unless they
// can take more. They stay until it has committed.
void BeforeSubCommit(SubTransactionId self, SubTransactionId parent) {
  const int own = FirstOf(self, segment_count);
  const int outer = FirstOf(parent, own);
  if (outer == own || MayStay(outer, own)) return;
  writing = true;
  DrawBelow(own);
  for (int i = outer; i < own; i++) {
    if (OutboxIsThere(segments[i].outbox)) Write(i);
    segments[i].written_by = self;
  }
  writing = false;
}

void Remove(int index) {
  const Size bytes_gone = EndOf(index) - segments[index].start;
  memmove(bytes + segments[index].start, bytes + EndOf(index), used - EndOf(index));
  for (int i = index + 1; i < segment_count; i++) {
    Segment* moved = &segments[i];
    moved->start -= bytes_gone;
    moved->trace_at = 0;
    for (ShapePlace& place : moved->shapes) place = {};
    segments[i - 1] = *moved;
  }
  used -= bytes_gone;
  segment_count--;
}

// The inner segment's records follow the outer one's without their head. Distances between records
// stay as they are.
void Join(int outer_index) {
  Segment* outer = &segments[outer_index];
  const Segment& inner = segments[outer_index + 1];
  const Size from = inner.start + kBlockHeadBytes;
  memmove(bytes + inner.start, bytes + from, used - from);
  used -= kBlockHeadBytes;
  outer->events += inner.events;
  for (int i = 0; i < inner.mapping_count; i++) {
    if (!HasMapping(*outer, inner.mappings[i]))
      outer->mappings[outer->mapping_count++] = inner.mappings[i];
  }
  segment_count--;
}

// Nothing from here on calls what could raise: the subtransaction is over.
void AfterSubCommit(SubTransactionId self, SubTransactionId parent) {
  for (int i = segment_count - 1; i >= 0; i--) {
    if (segments[i].owner == self) segments[i].owner = parent;
    if (segments[i].written_by == self) Remove(i);
  }
  const int top = segment_count - 1;
  if (top < 1 || segments[top - 1].owner != segments[top].owner) return;
  if (CanJoin(segments[top - 1], segments[top], EndOf(top) - segments[top].start)) Join(top - 1);
}

void AfterSubAbort(SubTransactionId self) {
  const int first = FirstOf(self, segment_count);
  if (first < segment_count) {
    used = segments[first].start;
    segment_count = first;
  }
  for (int i = 0; i < segment_count; i++) {
    if (segments[i].written_by == self) segments[i].written_by = InvalidSubTransactionId;
  }
  writing = false;
}

extern "C" void WriteAtSubTransactionEvent(SubXactEvent event, SubTransactionId self,
                                           SubTransactionId parent, void* /*unused*/) {
  if (segment_count == 0) return;
  switch (event) {
    case SUBXACT_EVENT_PRE_COMMIT_SUB: Guard([=] { BeforeSubCommit(self, parent); }); break;
    case SUBXACT_EVENT_COMMIT_SUB: AfterSubCommit(self, parent); break;
    case SUBXACT_EVENT_ABORT_SUB: AfterSubAbort(self); break;
    default: break;
  }
}

// Of a transaction that loads this library. When it is another library's commit callback that does,
// our turn has passed. No statement runs then, unless it is a procedure that commits.
bool MayBeCommitting() {
  if (!IsTransactionState()) return false;
  return ActivePortal == nullptr || ActivePortal->commandTag == CMDTAG_CALL ||
         ActivePortal->commandTag == CMDTAG_DO;
}

extern "C" void WriteAtTransactionEvent(XactEvent event, void* /*unused*/) {
  switch (event) {
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      if (segment_count > 0) Guard([] { WriteLevel(); });
      committing = true;
      break;
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE: Reset(); break;
    default: break;
  }
}

}  // namespace

void AppendRecord(const CapturePlan& plan, RecordPlan* record, char* fields[kFieldsMax]) {
  const bool traced = traceparent[0] != '\0';
  // A shape and a trace context may come along; what they take beyond their bytes is bounded.
  const Size more = record->Bytes() + AlignRecord(plan.shape.bytes_length) +
                    (traced ? strlen(traceparent) : 0) + 2 * AlignRecord(sizeof(RecordHead)) + 32;
  Segment* segment = SegmentFor(plan, more);
  EnsureRoom(more);
  const Size shape_at = ShapeAt(segment, plan.shape);
  const Size trace_at = traced ? TraceAt(segment) : 0;
  record->head.shape_distance = static_cast<uint32>(used - shape_at);
  record->head.trace_distance = traced ? static_cast<uint32>(used - trace_at) : 0;
  record->Place(bytes + used, fields);
  used += record->head.bytes;
  segment->events++;
  if (!HasMapping(*segment, plan.mapping)) {
    segment->mappings[segment->mapping_count++] = plan.mapping;
  }
  apex_wakeup_note_capture();
}

int64 WritePending() { return WriteLevel(); }

void WriteIfCommitting() {
  if (committing) WriteLevel();
}

void WritePendingAs(int64 seq) {
  segments[segment_count - 1].last_seq = seq;
  WriteLevel();
}

void InitializeOutboxBuffer() {
  RegisterXactCallback(WriteAtTransactionEvent, nullptr);
  RegisterSubXactCallback(WriteAtSubTransactionEvent, nullptr);
  committing = MayBeCommitting();
}

}  // namespace apex::pg
