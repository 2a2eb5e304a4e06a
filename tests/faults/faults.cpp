// Raises an ERROR at the n-th call of a server function that the extension makes.
//
// Linked into the extension by tools/matrix/faults.sh, in a build for tests alone. The linker sends
// every call of a server function through a stub, which comes by here first: whatever raises in
// such a function raises before it has done anything, and the extension has to be ready for it.
#include "pg/postgres_api.h"

extern "C" {
#include "access/xact.h"
#include "utils/builtins.h"

__attribute__((visibility("hidden"))) void apex_fault_point(const char* function);

PGDLLEXPORT Datum apex_faults_start(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum apex_faults_stop(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum apex_faults_late(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(apex_faults_start);
PG_FUNCTION_INFO_V1(apex_faults_stop);
PG_FUNCTION_INFO_V1(apex_faults_late);
}

namespace {

bool counting = false;
int calls = 0;
int raise_at = 0;
const char* late = nullptr;

}  // namespace

void apex_fault_point(const char* function) {
  if (!counting) return;
  ++calls;
  // Once a transaction is committed or aborted an ERROR could only be a PANIC. What the extension
  // calls then is remembered instead, for the test to object to.
  if (!IsTransactionState()) late = function;
  if (calls != raise_at) return;
  ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("fault in %s", function)));
}

/// apex_faults_start(n int): counts from now on, and raises at the n-th call; 0 raises never.
Datum apex_faults_start(PG_FUNCTION_ARGS) {
  raise_at = PG_GETARG_INT32(0);
  calls = 0;
  late = nullptr;
  counting = true;
  PG_RETURN_VOID();
}

/// apex_faults_stop() returns int: the calls since the start.
Datum apex_faults_stop(PG_FUNCTION_ARGS) {
  counting = false;
  PG_RETURN_INT32(calls);
}

/// apex_faults_late() returns text: a function that was called when nothing may raise any more.
Datum apex_faults_late(PG_FUNCTION_ARGS) {
  if (late == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(late));
}
