// Appending to the outbox: straight to the heap and every ready index of the current slot.
//
// No permission is checked, so that whoever may write an attached table records its events and
// nobody may write the outbox by SQL. The lock on the slot is kept to the end of the transaction,
// which is what apex.rotate() looks at.
#pragma once

#include "pg/mapping.h"

namespace apex::pg {

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

/// The slot that events go to at this time; it changes every kOutboxSlotSeconds.
int CurrentOutboxSlot();

/// Draws the next version. Assigns the top-level transaction id first: the reader's rule rests on
/// that order.
int64 DrawSeq(const CapturePlan& plan);

/// Writes the event with this version.
void WriteEvent(const CapturePlan& plan, const OutboxEvent& event, int64 seq);

}  // namespace apex::pg
