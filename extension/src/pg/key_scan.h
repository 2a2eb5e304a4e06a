// Rows of an attached table in the order of its primary key, read by the key's index without SQL:
// no right, no row security policy and no rule of the table can hide a row, and nothing of the
// user's is run but the key type's comparison.
//
// A partitioned table is read leaf by leaf, in the order of their oids, so that a place is a leaf
// and a key.
#pragma once

#include "pg/mapping.h"

extern "C" {
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/snapshot.h"
}

namespace apex::pg {

/// The columns of a key as text, in key order.
struct KeyTexts {
  Datum* values;
  bool* nulls;
  int count;
};

KeyTexts ReadKey(ArrayType* array);

/// Raises unless the table is attached and `key` can be one of its keys.
void CheckKey(const CapturePlan& plan, const KeyTexts& key, Relation relation);

/// A slot with the key columns set. Domains are read as their base type, so that none of their
/// checks runs.
TupleTableSlot* MakeSearchSlot(const CapturePlan& plan, Relation relation, const KeyTexts& key);

/// 0 when the table has none.
Oid PrimaryKeyIndex(Relation relation);

/// Called with each row; false ends the scan.
using RowVisitor = bool (*)(const CapturePlan& plan, Relation relation, TupleTableSlot* row,
                            void* state);

enum class KeyRange { kBehind, kEqual };

/// Visits the rows of one table or leaf partition whose key is `range` of `key`, or all of them
/// when that is NULL, under `snapshot`, or one taken now when that is NULL. The visitor may lock
/// the row in its slot. False when the visitor ended the scan.
bool ScanByKey(Relation relation, KeyRange range, const KeyTexts* key, Snapshot snapshot,
               RowVisitor visit, void* state);

/// The table itself, or its leaf partitions by oid, locked in `lock`: those from `first` on.
List* LeavesFrom(Relation root, Oid first, LOCKMODE lock);

}  // namespace apex::pg
