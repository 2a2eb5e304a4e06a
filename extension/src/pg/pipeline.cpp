// What the reader's rule needs of the server and SQL does not offer.
#include "pg/guard.h"

extern "C" {
#include "access/transam.h"
#include "utils/xid8.h"
}

/// The next unassigned transaction id: the reader's ceiling. A snapshot's own xmax will not do,
/// since it is only the latest *completed* id plus one, and running transactions above it may
/// already hold a seq.
APEX_FUNCTION(apex_next_xid) { PG_RETURN_FULLTRANSACTIONID(ReadNextFullTransactionId()); }
