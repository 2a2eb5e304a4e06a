// What a backend remembers about the slots of the outbox, so that a block costs its insertions and
// not the set-up of an executor.
//
// Only shapes are remembered: which indexes there are, how their keys are made, and one tuple slot.
// Relations are opened for every block, so that locks, resource owners and files are always those
// of now. An entry is built anew after a relation invalidation of its table, which creating and
// dropping an index sends. Its memory is the backend's; of one block nothing stays but, after an
// ERROR, the tuple that the next block replaces.
#pragma once

#include "pg/mapping.h"

extern "C" {
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
}

namespace apex::pg {

struct OutboxIndex {
  Oid oid;
  IndexInfo* info;
};

struct OutboxTable {
  Oid oid;
  uint64 built_at;  ///< The count of invalidations that the rest was true for.
  MemoryContext context;
  MemoryContext scratch;  ///< Emptied after each block.
  TupleTableSlot* tuple;
  bool plain;  ///< Every index is a btree over columns, without uniqueness or predicate.
  int index_count;
  OutboxIndex* indexes;  ///< Empty unless plain.
};

/// Whether this is the slot's table as it was last found, and nobody has altered or dropped it
/// since.
bool IsKnownOutboxTable(int slot, Oid table);

/// The entry of this slot, whose table is open and locked. It stays until the next call.
OutboxTable* FindOutboxTable(int slot, Relation table);

}  // namespace apex::pg
