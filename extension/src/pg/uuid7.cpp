// The uuid7 functions of SQL. What they promise stands in sql/10_uuid7.sql; the arithmetic in
// core/uuid.h.
#include <ctime>

#include "core/uuid.h"
#include "core/uuid7_generator.h"
#include "pg/guard.h"

extern "C" {
#include "access/detoast.h"
#include "datatype/timestamp.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/supportnodes.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
}

namespace apex::pg {
namespace {

constexpr std::int64_t kUnixEpochInPostgresUs =
    std::int64_t{UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE} * USECS_PER_DAY;
constexpr std::int64_t kMicrosecondsPerMs = 1000;
constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

bool FillFromPostgres(void* buffer, std::size_t bytes) { return pg_strong_random(buffer, bytes); }

// Backend-local. Constant-initialised and trivially destructible, so loading and exit run no code
// for it.
constinit Uuid7Generator generator(FillFromPostgres);

std::int64_t UnixNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

Datum UuidDatum(const std::optional<Uuid>& uuid) {
  if (!uuid) {
    ereport(
        ERROR,
        (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values"),
         errdetail("The server's source of secure random numbers failed, and uuid7 uses no other."),
         errhint("Try again. When it persists, look at the entropy source of the machine.")));
  }
  auto* result = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
  std::memcpy(result->data, uuid->data(), UUID_LEN);
  return UUIDPGetDatum(result);
}

Uuid UuidArgument(FunctionCallInfo fcinfo, int argument) {
  Uuid uuid;
  std::memcpy(uuid.data(), PG_GETARG_UUID_P(argument)->data, UUID_LEN);
  return uuid;
}

// An argument longer than this cannot be a UUID in any spelling, and is not worth detoasting to
// find out.
constexpr Size kUuidTextBytesMax = 64;

std::optional<Uuid> UuidTextArgument(FunctionCallInfo fcinfo, int argument) {
  const Datum value = PG_GETARG_DATUM(argument);
  if (toast_raw_datum_size(value) > kUuidTextBytesMax + VARHDRSZ) return std::nullopt;
  text* argument_text = PG_GETARG_TEXT_PP(argument);
  return ParseUuid(
      {VARDATA_ANY(argument_text), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(argument_text))});
}

// The tick of an instant that version 7 can hold, else an ERROR.
std::uint64_t TickOf(TimestampTz at) {
  constexpr TimestampTz kFirst = kUnixEpochInPostgresUs;
  constexpr TimestampTz kEnd = kFirst + (kUuid7MsMax + 1) * kMicrosecondsPerMs;
  if (at < kFirst || at >= kEnd) {
    const char* shown =
        DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)));
    ereport(
        ERROR,
        (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
         errmsg("timestamp out of range for uuid7: %s", shown),
         errdetail("A version 7 UUID holds times from 1970-01-01 00:00:00 to 10889-08-02 "
                   "05:31:50.655 UTC."),
         errhint(
             "For the edge of a range use uuid7_lower_bound or uuid7_upper_bound, which clamp.")));
  }
  return TickOfUnixMicroseconds(at - kUnixEpochInPostgresUs);
}

// The millisecond of the Unix epoch that holds an instant, infinities included; never an error.
// Dividing first keeps the sum in range.
std::int64_t UnixMsOf(TimestampTz at) {
  const std::int64_t floor_ms = at / kMicrosecondsPerMs - (at % kMicrosecondsPerMs < 0 ? 1 : 0);
  return floor_ms - kUnixEpochInPostgresUs / kMicrosecondsPerMs;
}

Datum TimestampDatum(FunctionCallInfo fcinfo, const std::optional<std::int64_t>& unix_ms) {
  if (!unix_ms) PG_RETURN_NULL();
  PG_RETURN_TIMESTAMPTZ(*unix_ms * kMicrosecondsPerMs + kUnixEpochInPostgresUs);
}

bool IsVersion(const std::optional<Uuid>& uuid, int version) {
  return uuid && UuidVersion(*uuid) == version;
}

}  // namespace
}  // namespace apex::pg

namespace {
using namespace apex;  // NOLINT(google-build-using-namespace): this file is the SQL face of both
using namespace apex::pg;  // NOLINT(google-build-using-namespace)
}  // namespace

APEX_FUNCTION(apex_uuid7) { return UuidDatum(generator.Next(UnixNanoseconds(), MyProcPid)); }

APEX_FUNCTION(apex_uuid7_at) {
  return UuidDatum(generator.At(TickOf(PG_GETARG_TIMESTAMPTZ(0)), MyProcPid));
}

// One clock reading serves the whole batch; the generator keeps the ids rising.
APEX_FUNCTION(apex_uuid7_batch) {
  if (SRF_IS_FIRSTCALL()) {
    const int32 count = PG_GETARG_INT32(0);
    if (count < 0) {
      ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                      errmsg("uuid7_batch: n must not be negative"), errdetail("n is %d.", count),
                      errhint("Ask for 0 or more ids.")));
    }
    FuncCallContext* context = SRF_FIRSTCALL_INIT();
    auto* started_ns = static_cast<std::int64_t*>(
        MemoryContextAlloc(context->multi_call_memory_ctx, sizeof(std::int64_t)));
    *started_ns = UnixNanoseconds();
    context->user_fctx = started_ns;
    context->max_calls = static_cast<uint64>(count);
  }
  FuncCallContext* context = SRF_PERCALL_SETUP();
  if (context->call_cntr >= context->max_calls) SRF_RETURN_DONE(context);
  const Datum id =
      UuidDatum(generator.Next(*static_cast<std::int64_t*>(context->user_fctx), MyProcPid));
  SRF_RETURN_NEXT(context, id);
}

APEX_FUNCTION(apex_uuid7_lower_bound) {
  return UuidDatum(Uuid7LowerBound(UnixMsOf(PG_GETARG_TIMESTAMPTZ(0))));
}

APEX_FUNCTION(apex_uuid7_upper_bound) {
  return UuidDatum(Uuid7UpperBound(UnixMsOf(PG_GETARG_TIMESTAMPTZ(0))));
}

APEX_FUNCTION(apex_uuid7_to_timestamp) {
  return TimestampDatum(fcinfo, Uuid7UnixMs(UuidArgument(fcinfo, 0)));
}

APEX_FUNCTION(apex_uuid7_to_timestamp_text) {
  const std::optional<Uuid> uuid = UuidTextArgument(fcinfo, 0);
  return TimestampDatum(fcinfo, uuid ? Uuid7UnixMs(*uuid) : std::nullopt);
}

APEX_FUNCTION(apex_uuid7_to_ms) {
  const std::optional<std::int64_t> unix_ms = Uuid7UnixMs(UuidArgument(fcinfo, 0));
  if (!unix_ms) PG_RETURN_NULL();
  PG_RETURN_INT64(*unix_ms);
}

APEX_FUNCTION(apex_is_uuid7) { PG_RETURN_BOOL(IsVersion(UuidArgument(fcinfo, 0), 7)); }

APEX_FUNCTION(apex_is_uuid7_text) { PG_RETURN_BOOL(IsVersion(UuidTextArgument(fcinfo, 0), 7)); }

APEX_FUNCTION(apex_uuid_version) {
  const std::optional<int> version = UuidVersion(UuidArgument(fcinfo, 0));
  if (!version) PG_RETURN_NULL();
  PG_RETURN_INT32(*version);
}

APEX_FUNCTION(apex_is_valid_id) {
  const std::optional<Uuid> uuid = UuidTextArgument(fcinfo, 0);
  PG_RETURN_BOOL(IsVersion(uuid, 4) || IsVersion(uuid, 7));
}

// uuid7_between() filters by is_uuid7(). Left alone the planner would guess that a third of the
// rows pass and choose its joins by that; in a table keyed by uuid7 nearly all of them do.
APEX_FUNCTION(apex_is_uuid7_support) {
  constexpr Selectivity kNearlyAll = 0.99;
  auto* request = reinterpret_cast<Node*>(PG_GETARG_POINTER(0));
  if (!IsA(request, SupportRequestSelectivity)) PG_RETURN_POINTER(nullptr);
  auto* selectivity = reinterpret_cast<SupportRequestSelectivity*>(request);
  if (selectivity->is_join) PG_RETURN_POINTER(nullptr);
  selectivity->selectivity = kNearlyAll;
  PG_RETURN_POINTER(selectivity);
}
