// Turning rows into events: what the trigger, apex.refresh and the outbox's reader need.
#pragma once

#include "pg/mapping.h"

extern "C" {
#include "access/htup.h"
}

namespace apex::pg {

/// A row's columns, taken apart once for everything that looks at them.
struct RowValues {
  Datum* values;
  bool* nulls;
};

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

/// One event, as the contract names its columns. NULL pointers are NULL columns.
struct OutboxEvent {
  char op;
  CommandId command;
  const Jsonb* key;
  const Jsonb* aggregate_key;  ///< NULL: the row is its own aggregate.
  const Jsonb* before;
  const Jsonb* after;
  const bytea* embedding;
  const bytea* old_embedding;
  const char* error;
};

/// A change of a row, as values. A row that is not there has no values.
struct RowChange {
  char op;
  CommandId command;
  RowValues before;
  RowValues after;
  /// Of an update: which of the shape's columns have one value in both.
  const bool* same;
};

/// In memory of the current context; values by reference point into the tuple.
RowValues TakeApart(HeapTuple tuple, TupleDesc descriptor);

/// Never raises for what a value holds: that becomes `error`. (Out of memory and cancelling do
/// raise.)
RowImage EncodeRow(const CapturePlan& plan, const RowValues& values);

/// The same without `image` and `embedding`.
RowImage EncodeKeys(const CapturePlan& plan, const RowValues& values);

/// The event of a change whose rows are laid out as the plan says; with its keys alone when it is
/// not read for its images.
OutboxEvent EncodeChange(const CapturePlan& plan, const RowChange& change, bool images = true);

/// Captures a change: as values where they may be kept and are not too large, else encoded.
void CaptureChange(const CapturePlan& plan, const RowChange& change);

/// Tells the user, once a session, that a table has our triggers and no mapping.
void WarnUnmapped(const CapturePlan& plan, Relation relation);

/// Captures an event that is encoded already.
void CaptureEvent(const CapturePlan& plan, const OutboxEvent& event);

}  // namespace apex::pg
