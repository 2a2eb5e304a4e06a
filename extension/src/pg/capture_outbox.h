// Appending to the outbox: straight to the heap and every ready index of the current slot.
//
// No permission is checked, so that whoever may write an attached table records its events and
// nobody may write the outbox by SQL. The lock on the slot is kept to the end of the transaction,
// which is what apex.rotate() looks at.
#pragma once

#include "pg/mapping.h"

extern "C" {
#include "datatype/timestamp.h"
}

namespace apex::pg {

/// The increment of apex.outbox_seq: one draw gives a block that many versions. A power of two that
/// leaves room for 1.4e14 blocks below 2^53, up to where every store holds integers exactly: at
/// 100,000 commits a second that is 44 years.
inline constexpr int kBlockEventsMax = 64;
/// A block of more than one event, with its row's other columns, fits a page and is not toasted.
inline constexpr Size kBlockBytesMax = 7976;
inline constexpr int kBlockMappingsMax = 16;
/// What stands before a block's records: a length word and a word for the format.
inline constexpr Size kBlockHeadBytes = 8;
inline constexpr uint32 kBlockFormat = 1;

struct OutboxBlock {
  char* bytes;  ///< With room for the head, which is written here.
  Size length;
  int events;
  int64 last_seq;  ///< The version of the last event; those before it have the ones below.
  TimestampTz began_at;
  int mapping_count;
  const int32* mappings;
};

/// The slot that blocks go to at this time; it changes every kOutboxSlotSeconds.
int CurrentOutboxSlot();

/// False once the extension has been dropped, by this transaction: nobody will read its events.
bool OutboxIsThere(const OutboxOids& outbox);

/// Draws the versions of a block and returns the last. Assigns the top-level transaction id first:
/// the reader's rule rests on that order.
int64 DrawVersions(const OutboxOids& outbox);

void WriteBlock(const OutboxOids& outbox, const OutboxBlock& block);

}  // namespace apex::pg
