// Functions that throw through the extension's Guard.
#include <stdexcept>
#include <string>

#include "pg/guard.h"

extern "C" {
#include "utils/builtins.h"

PG_MODULE_MAGIC;
}

/// throw_exception(kind text): 'memory', 'defect', 'long' or anything else.
APEX_FUNCTION(throw_exception) {
  const char* kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
  if (strcmp(kind, "memory") == 0) throw std::bad_alloc();
  if (strcmp(kind, "defect") == 0) throw std::logic_error("an invariant does not hold");
  if (strcmp(kind, "long") == 0) throw std::runtime_error(std::string(100'000, 'x'));
  throw 1;
}

/// raise_error(): an ERROR of PostgreSQL's own goes through untouched.
APEX_FUNCTION(raise_error) {
  ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("raised by the server")));
  PG_RETURN_VOID();
}
