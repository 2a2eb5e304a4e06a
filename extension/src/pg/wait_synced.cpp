// apex.wait_synced(): looks at apex.sync_state() until it is decided or time is up.
//
// A procedure, because between two looks it ends its transaction: a snapshot held while waiting
// would keep vacuum from its work, and would never see the sidecar's progress.
#include <algorithm>

#include "pg/guard.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "utils/xid8.h"
}

namespace apex::pg {
namespace {

constexpr long kFirstWaitMs = 1;
constexpr long kWaitMsMax = 50;

// PostgreSQL's own rule for adding up an interval, as in EXTRACT(epoch ...): a month is 30 days.
TimestampTz DeadlineAfter(const Interval& timeout) {
  constexpr double kForeverUs = 100.0 * 365 * USECS_PER_DAY;
  const double us = static_cast<double>(timeout.time) +
                    static_cast<double>(USECS_PER_DAY) * (timeout.day + 30.0 * timeout.month);
  return GetCurrentTimestamp() + static_cast<TimestampTz>(std::clamp(us, 0.0, kForeverUs));
}

void RefuseTransactionBlock(FunctionCallInfo fcinfo) {
  const Node* context = fcinfo->context;
  if (context != nullptr && IsA(context, CallContext) &&
      !reinterpret_cast<const CallContext*>(context)->atomic) {
    return;
  }
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
           errmsg("apex.wait_synced cannot run inside a transaction block or a function"),
           errdetail("It waits for commits that its own snapshot would hide."),
           errhint("Commit first, then CALL apex.wait_synced(...) as a statement of its own.")));
}

// One look. The answer is one of a few literals, so nothing of SPI's memory is kept. nullptr: not
// decided yet.
const char* Look(Datum position) {
  Oid types[] = {XID8OID};
  Datum values[] = {position};
  const int status =
      SPI_execute_with_args("SELECT apex.sync_state($1)", 1, types, values, nullptr, false, 1);
  if (status != SPI_OK_SELECT || SPI_processed != 1) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("apex.sync_state() gave no answer")));
  }
  const char* state = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
  if (state != nullptr && std::strcmp(state, "synced") == 0) return "synced";
  if (state != nullptr && std::strcmp(state, "parked") == 0) return "parked";
  return nullptr;
}

const char* WaitUntilDecided(Datum position, TimestampTz deadline) {
  for (long wait_ms = kFirstWaitMs;; wait_ms = std::min(wait_ms * 2, kWaitMsMax)) {
    const char* decided = Look(position);
    SPI_commit();
    if (decided != nullptr) return decided;
    const long left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
    if (left_ms <= 0) return "timeout";
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                    std::min(wait_ms, left_ms), PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
}

Datum ResultRow(FunctionCallInfo fcinfo, const char* result) {
  TupleDesc row = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &row) != TYPEFUNC_COMPOSITE) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                    errmsg("apex.wait_synced was not called as a procedure")));
  }
  Datum value = CStringGetTextDatum(result);
  bool is_null = false;
  return HeapTupleGetDatum(heap_form_tuple(row, &value, &is_null));
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_wait_synced) {
  apex::pg::RefuseTransactionBlock(fcinfo);
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("apex.wait_synced: %s must not be NULL",
                           PG_ARGISNULL(0) ? "position" : "timeout"),
                    errhint("For instance CALL apex.wait_synced('4711', '5 seconds').")));
  }
  const Datum position = PG_GETARG_DATUM(0);
  const TimestampTz deadline = apex::pg::DeadlineAfter(*PG_GETARG_INTERVAL_P(1));
  SPI_connect_ext(SPI_OPT_NONATOMIC);
  const char* result = apex::pg::WaitUntilDecided(position, deadline);
  SPI_finish();
  return apex::pg::ResultRow(fcinfo, result);
}
