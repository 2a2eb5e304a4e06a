// Sending rows as they are now (rule E7): what one refresh and a backfill have in common.
#pragma once

#include "pg/capture.h"
#include "pg/key_scan.h"

namespace apex::pg {

/// Raises unless the current user owns the table or is the sidecar's role, which is known by its
/// right to read the outbox.
void CheckMayRefresh(Oid table);

/// Captures the image of the row in `found`, which the caller has locked.
void CaptureRefreshed(const CapturePlan& plan, Relation relation, TupleTableSlot* found);

/// The version of a delete is drawn before the row is looked for, by a search that sees what is not
/// committed, too: a row has its place in the index before it is captured, so that whatever the
/// search misses draws a later version. What is pending is written before it.
int64 DrawBeforeSearch(const CapturePlan& plan);

/// Writes that there is no row of this key, with the version that was drawn before the search.
void WriteVanished(const CapturePlan& plan, Relation relation, const KeyTexts& key, int64 seq);

}  // namespace apex::pg
