// Turning rows into events: what both the trigger and apex.refresh need.
#pragma once

#include "pg/capture_outbox.h"

extern "C" {
#include "access/htup.h"
}

namespace apex::pg {

/// One version of a row, encoded. All memory is of the context that was current for EncodeRow.
struct RowImage {
  const Jsonb* key;
  const Jsonb* aggregate_key;
  const Jsonb* image;
  const bytea* embedding;
  const char* error;          ///< Not NULL: `image` and `embedding` are not to be used.
  const char* key_error;      ///< Not NULL: `key` has a null where a value could not be written.
                              ///< `error` is set as well.
  const PlanColumn* reached;  ///< The column that was encoded last.
};

/// A row's columns, taken apart once for everything that looks at them.
struct RowValues {
  Datum* values;
  bool* nulls;
};

/// In memory of the current context; values by reference point into the tuple.
RowValues TakeApart(HeapTuple tuple, TupleDesc descriptor);

/// Never raises for what a value holds: that becomes `error`. (Out of memory and cancelling do
/// raise.)
RowImage EncodeRow(const CapturePlan& plan, const RowValues& values);

}  // namespace apex::pg
