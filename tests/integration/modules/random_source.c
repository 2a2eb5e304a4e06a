/*
 * Put before the server's libraries by LD_PRELOAD: OpenSSL's random source, which fails in a session that asks for it.
 */
#define _GNU_SOURCE
#include "postgres.h"

#include <dlfcn.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fail_random_source);

PGDLLEXPORT int RAND_bytes(unsigned char *buffer, int bytes);

static bool failing = false;

int RAND_bytes(unsigned char *buffer, int bytes) {
  static int (*real)(unsigned char *, int) = NULL;

  if (failing) return 0;
  if (real == NULL) real = (int (*)(unsigned char *, int))dlsym(RTLD_NEXT, "RAND_bytes");
  return real(buffer, bytes);
}

/* fail_random_source(failing bool) */
Datum fail_random_source(PG_FUNCTION_ARGS) {
  failing = PG_GETARG_BOOL(0);
  PG_RETURN_VOID();
}
