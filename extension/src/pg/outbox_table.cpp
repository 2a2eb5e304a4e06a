#include "pg/outbox_table.h"

extern "C" {
#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "utils/inval.h"
#include "utils/memutils.h"
}

namespace apex::pg {
namespace {

OutboxTable tables[kOutboxSlots];
// Counts from 1, so that an entry that was never built is out of date.
uint64 invalidations = 0;

// Runs inside invalidation processing: it only counts, the next block rebuilds.
void NoteInvalidation(Datum /*argument*/, Oid relation) {
  for (const OutboxTable& table : tables) {
    if (relation == InvalidOid || relation == table.oid) invalidations++;
  }
}

bool IsPlain(Relation index) {
  const Form_pg_index form = index->rd_index;
  return index->rd_rel->relam == BTREE_AM_OID && !form->indisunique && !form->indisexclusion &&
         RelationGetIndexExpressions(index) == NIL && RelationGetIndexPredicate(index) == NIL;
}

void AddIndex(OutboxTable* table, Oid oid) {
  const Relation index = index_open(oid, RowExclusiveLock);
  // One that is still being created takes no rows, as for the executor.
  if (index->rd_index->indisready) {
    table->plain &= IsPlain(index);
    table->indexes[table->index_count++] = {oid, BuildIndexInfo(index)};
  }
  index_close(index, NoLock);
}

void Build(OutboxTable* table, Relation relation) {
  table->scratch = AllocSetContextCreate(table->context, "apex outbox row", ALLOCSET_SMALL_SIZES);
  // The relation's own descriptor would be pinned for a resource owner that ends with the query.
  table->tuple = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(relation)),
                                          table_slot_callbacks(relation));
  List* oids = RelationGetIndexList(relation);
  table->indexes =
      static_cast<OutboxIndex*>(palloc0(sizeof(OutboxIndex) * (list_length(oids) + 1)));
  table->index_count = 0;
  table->plain = true;
  ListCell* cell;
  foreach (cell, oids) AddIndex(table, lfirst_oid(cell));
}

}  // namespace

bool IsKnownOutboxTable(int slot, Oid table) {
  return tables[slot].oid == table && tables[slot].built_at == invalidations;
}

OutboxTable* FindOutboxTable(int slot, Relation table) {
  if (invalidations == 0) {
    CacheRegisterRelcacheCallback(NoteInvalidation, Datum{0});
    invalidations = 1;
  }
  OutboxTable* entry = &tables[slot];
  if (IsKnownOutboxTable(slot, RelationGetRelid(table))) return entry;

  entry->built_at = 0;
  if (entry->context != nullptr) MemoryContextDelete(entry->context);
  entry->context = nullptr;
  entry->context = AllocSetContextCreate(CacheMemoryContext, "apex outbox", ALLOCSET_SMALL_SIZES);
  entry->oid = RelationGetRelid(table);
  // Read before: an invalidation that arrives while the entry is built has to win.
  const uint64 now = invalidations;
  const MemoryContext caller = MemoryContextSwitchTo(entry->context);
  Build(entry, table);
  MemoryContextSwitchTo(caller);
  entry->built_at = now;
  return entry;
}

}  // namespace apex::pg
