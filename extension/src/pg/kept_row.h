// A row's values as a block keeps them: a bit for each NULL, then each value as the server has it
// in memory, everything at a multiple of 8 bytes. A writer copies, and a reader points into the
// block.
#pragma once

#include "core/event_block.h"
#include "pg/capture.h"

namespace apex::pg {

/// The shape's columns of one row on their way into a block.
struct KeptRow {
  Datum* values;  ///< NULL: there is no row.
  bool* nulls;
  Size bytes;
};

/// Collects the columns of a row, but for those left out, and fetches what lies in the table's
/// TOAST. False when they are too large to be kept. In memory of the current context.
bool GatherRow(KeptRow* row, const RowShape& shape, const RowValues& from, const bool* left_out);

/// Writes row.bytes bytes, without raising.
void WriteRow(char* at, const KeptRow& row, const RowShape& shape);

/// The values of a row, by reference into the block. False when the bytes are no such row.
bool ReadRow(RowValues* row, const RowShape& shape, const Field& field);

}  // namespace apex::pg
