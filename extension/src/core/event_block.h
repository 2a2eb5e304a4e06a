// The bytes of one block of the outbox: records behind one another, each at a multiple of 8 bytes.
//
// A record of an event points back to the record that says how its table is laid out, its shape,
// and to that of its trace context, by distance. So a run of records stays true when it is moved,
// cut off at its end or joined with the run before it. Everything is in the machine's byte order: a
// block never leaves its cluster. Nothing here allocates or throws.
#pragma once

#include <cstddef>
#include <cstdint>

namespace apex {

inline constexpr std::size_t kRecordAlignment = 8;

constexpr std::size_t AlignRecord(std::size_t bytes) {
  return (bytes + kRecordAlignment - 1) & ~(kRecordAlignment - 1);
}

enum class RecordKind : std::uint8_t {
  kShape = 1,    ///< One field: what capture wrote about a table's columns.
  kTraceparent,  ///< One field: the text.
  kRow,          ///< An event whose fields are the row's values as they were.
  kWritten,      ///< An event whose fields are already what the outbox shows.
};

/// The most fields that a record has.
inline constexpr int kFieldsMax = 7;

struct RecordHead {
  std::uint32_t bytes;  ///< Of the whole record, padding included.
  RecordKind kind;
  char op;
  std::uint16_t present;  ///< A bit for each field; the present ones follow in its order.
  std::uint32_t command;
  std::uint32_t shape_distance;  ///< Bytes back to the shape's record; 0 in records of no event.
  std::uint32_t trace_distance;  ///< Bytes back to the trace context's record; 0: there is none.
};

struct Field {
  const char* data;  ///< NULL: not present.
  std::uint32_t bytes;
};

/// A record that is being written: which fields it has and how long they are.
struct RecordPlan {
  RecordHead head;
  int count;
  std::uint8_t which[kFieldsMax];     ///< The fields that are present, in order.
  std::uint32_t lengths[kFieldsMax];  ///< Their lengths.

  /// Fields are added in their order.
  void Add(int field, std::size_t length) {
    head.present = static_cast<std::uint16_t>(head.present | 1U << field);
    which[count] = static_cast<std::uint8_t>(field);
    lengths[count++] = static_cast<std::uint32_t>(length);
  }
  std::size_t Bytes() const;
  /// Lays out head and lengths at `at`, which is aligned and has Bytes() bytes of room, and says
  /// where each present field goes.
  void Place(char* at, char* fields[kFieldsMax]);
};

struct Record {
  RecordHead head;
  Field fields[kFieldsMax];
};

/// Walks through a block from its first record. Bytes that are not a block end the walk and set
/// malformed(); nothing outside of them is ever read.
class BlockReader {
 public:
  /// `bytes` is aligned to kRecordAlignment and outlives the reader.
  BlockReader(const char* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

  /// The next record; false at the end.
  bool Next(Record* record);
  /// The record that the last event's distance names; false when there is none of that kind there.
  bool ReadBack(std::uint32_t distance, RecordKind kind, Record* record);
  bool malformed() const { return malformed_; }

 private:
  bool ReadAt(std::size_t at, Record* record) const;

  const char* bytes_;
  std::size_t size_;
  std::size_t current_ = 0;
  std::size_t next_ = 0;
  bool malformed_ = false;
};

}  // namespace apex
