// Sending rows as they are now (rule E7): what one refresh and a backfill have in common.
#pragma once

#include "pg/capture.h"
#include "pg/key_scan.h"

namespace apex::pg {

/// Raises unless the current user owns the table or is the sidecar's role, which is known by its
/// right to read the outbox.
void CheckMayRefresh(Oid table);

/// Draws a version for the row in `found`, which the caller has locked, and writes its image.
int64 WriteRefreshed(const CapturePlan& plan, Relation relation, TupleTableSlot* found);

/// Writes that there is no row of this key. `seq` was drawn before the row was looked for.
int64 WriteVanished(const CapturePlan& plan, Relation relation, const KeyTexts& key, int64 seq);

}  // namespace apex::pg
