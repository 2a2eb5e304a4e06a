#include "pg/kept_row.h"

extern "C" {
#include "access/detoast.h"
#include "access/htup_details.h"
}

namespace apex::pg {
namespace {

static_assert(sizeof(Datum) == kRecordAlignment, "a value by value takes one place");

Size NullBytes(int count) { return AlignRecord(static_cast<Size>(BITMAPLEN(count))); }

RowValues AllocateValues(int columns) {
  const Size count = static_cast<Size>(columns);
  RowValues row{};
  row.values = static_cast<Datum*>(palloc(count * (sizeof(Datum) + sizeof(bool)) + 1));
  row.nulls = reinterpret_cast<bool*>(row.values + count);
  return row;
}

// What is compressed stays so. False when the rows's values are more than an image may be.
bool Inline(Datum* value, Size* total) {
  auto* stored = reinterpret_cast<struct varlena*>(DatumGetPointer(*value));
  if (VARATT_IS_EXTERNAL(stored) || VARATT_IS_COMPRESSED(stored)) {
    *total += toast_raw_datum_size(*value);
    if (*total > kImageBytesMax) return false;
    if (VARATT_IS_EXTERNAL(stored)) *value = PointerGetDatum(detoast_external_attr(stored));
    return true;
  }
  *total += VARSIZE_ANY(stored);
  return *total <= kImageBytesMax;
}

}  // namespace

bool GatherRow(KeptRow* row, const RowShape& shape, const RowValues& from, const bool* left_out) {
  const RowValues to = AllocateValues(shape.count);
  Size bytes = NullBytes(shape.count);
  Size total = 0;
  for (int i = 0; i < shape.count; i++) {
    const ShapeColumn& column = shape.columns[i];
    to.nulls[i] = from.nulls[column.attribute - 1] || (left_out != nullptr && left_out[i]);
    if (to.nulls[i]) continue;
    to.values[i] = from.values[column.attribute - 1];
    if (column.length == kVariableLength) {
      if (!Inline(&to.values[i], &total)) return false;
      bytes += AlignRecord(VARSIZE_ANY(DatumGetPointer(to.values[i])));
    } else {
      bytes +=
          column.length == kByValue ? sizeof(Datum) : AlignRecord(static_cast<Size>(column.length));
    }
  }
  *row = {to.values, to.nulls, bytes};
  return true;
}

void WriteRow(char* at, const KeptRow& row, const RowShape& shape) {
  memset(at, 0, NullBytes(shape.count));
  char* next = at + NullBytes(shape.count);
  for (int i = 0; i < shape.count; i++) {
    if (row.nulls[i]) {
      at[i / 8] = static_cast<char>(at[i / 8] | 1 << i % 8);
      continue;
    }
    const int16 length = shape.columns[i].length;
    if (length == kByValue) {
      memcpy(next, &row.values[i], sizeof(Datum));
      next += sizeof(Datum);
      continue;
    }
    const char* value = DatumGetPointer(row.values[i]);
    const Size bytes = length == kVariableLength ? VARSIZE_ANY(value) : static_cast<Size>(length);
    memcpy(next, value, bytes);
    next += AlignRecord(bytes);
  }
}

bool ReadRow(RowValues* row, const RowShape& shape, const Field& field) {
  const char* const end = field.data + field.bytes;
  if (field.bytes < NullBytes(shape.count)) return false;
  *row = AllocateValues(shape.count);
  const char* next = field.data + NullBytes(shape.count);
  for (int i = 0; i < shape.count; i++) {
    row->nulls[i] = (field.data[i / 8] >> i % 8 & 1) != 0;
    if (row->nulls[i]) continue;
    const int16 length = shape.columns[i].length;
    const Size left = static_cast<Size>(end - next);
    // The least that a value takes is also enough to look at its length.
    if (left < sizeof(Datum)) return false;
    if (length == kByValue) {
      memcpy(&row->values[i], next, sizeof(Datum));
      next += sizeof(Datum);
      continue;
    }
    if (length == kVariableLength && VARATT_IS_EXTERNAL(next)) return false;
    const Size bytes = length == kVariableLength ? VARSIZE_ANY(next) : static_cast<Size>(length);
    if (AlignRecord(bytes) > left || bytes == 0) return false;
    row->values[i] = PointerGetDatum(next);
    next += AlignRecord(bytes);
  }
  return next == end;
}

}  // namespace apex::pg
