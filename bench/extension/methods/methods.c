/*
 * What uuid7() is compared with: a function that does nothing, which is the price of the call itself, and the method
 * that pg_uuidv7 uses, one reading of the clock and one request to the random source for each id.
 */
#include "postgres.h"

#include <time.h>

#include "fmgr.h"
#include "utils/uuid.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_empty);
PG_FUNCTION_INFO_V1(bench_uuid7_unpooled);

static pg_uuid_t nil;

Datum bench_empty(PG_FUNCTION_ARGS) { return UUIDPGetDatum(&nil); }

Datum bench_uuid7_unpooled(PG_FUNCTION_ARGS) {
  pg_uuid_t *uuid = palloc(UUID_LEN);
  struct timespec now;
  uint64 ms;

  if (!pg_strong_random(uuid->data + 6, UUID_LEN - 6))
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
  clock_gettime(CLOCK_REALTIME, &now);
  ms = (uint64)now.tv_sec * 1000 + now.tv_nsec / 1000000;
  for (int i = 0; i < 6; i++) uuid->data[i] = (unsigned char)(ms >> (8 * (5 - i)));
  uuid->data[6] = (uuid->data[6] & 0x0f) | 0x70;
  uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
  return UUIDPGetDatum(uuid);
}
