#include "core/event_block.h"

#include <bit>
#include <cstring>

namespace apex {
namespace {

std::size_t HeadBytes(int fields) {
  return AlignRecord(sizeof(RecordHead) + static_cast<std::size_t>(fields) * sizeof(std::uint32_t));
}

bool IsEvent(RecordKind kind) { return kind == RecordKind::kRow || kind == RecordKind::kWritten; }

bool IsKnown(RecordKind kind) {
  return kind == RecordKind::kShape || kind == RecordKind::kTraceparent || IsEvent(kind);
}

}  // namespace

std::size_t RecordPlan::Bytes() const {
  std::size_t bytes = HeadBytes(count);
  for (int i = 0; i < count; i++) bytes += AlignRecord(lengths[i]);
  return bytes;
}

void RecordPlan::Place(char* at, char* fields[kFieldsMax]) {
  head.bytes = static_cast<std::uint32_t>(Bytes());
  std::memcpy(at, &head, sizeof(head));
  std::memcpy(at + sizeof(head), lengths, static_cast<std::size_t>(count) * sizeof(lengths[0]));
  char* field_at = at + HeadBytes(count);
  for (int i = 0; i < count; i++) {
    fields[which[i]] = field_at;
    field_at += AlignRecord(lengths[i]);
  }
}

bool BlockReader::Next(Record* record) {
  current_ = next_;
  if (current_ == size_ || malformed_) return false;
  malformed_ = !ReadAt(current_, record);
  if (malformed_) return false;
  next_ += record->head.bytes;
  return true;
}

bool BlockReader::ReadBack(std::uint32_t distance, RecordKind kind, Record* record) {
  return distance != 0 && distance <= current_ && distance % kRecordAlignment == 0 &&
         ReadAt(current_ - distance, record) && record->head.kind == kind;
}

bool BlockReader::ReadAt(std::size_t at, Record* record) const {
  const std::size_t left = size_ - at;
  if (left < sizeof(RecordHead)) return false;
  std::memcpy(&record->head, bytes_ + at, sizeof(RecordHead));
  const RecordHead& head = record->head;
  if (!IsKnown(head.kind) || head.present >> kFieldsMax != 0) return false;
  if (head.bytes > left || head.bytes % kRecordAlignment != 0) return false;
  std::size_t used = HeadBytes(std::popcount(head.present));
  if (used > head.bytes) return false;
  const char* length = bytes_ + at + sizeof(RecordHead);
  for (int i = 0; i < kFieldsMax; i++) {
    Field& field = record->fields[i];
    field = {};
    if ((head.present >> i & 1U) == 0) continue;
    std::memcpy(&field.bytes, length, sizeof(field.bytes));
    length += sizeof(field.bytes);
    field.data = bytes_ + at + used;
    if (field.bytes > head.bytes - used) return false;
    used += AlignRecord(field.bytes);
    if (used > head.bytes) return false;
  }
  // Nothing but the fields: bytes that nobody wrote are no record.
  return used == head.bytes;
}

}  // namespace apex
