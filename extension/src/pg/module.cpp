// Loading of the module: the magic block, the settings and, when preloaded, the shared memory of
// the wake-up.
#include "pg/module.h"

#include "core/traceparent.h"
#include "pg/guard.h"
#include "pg/outbox_buffer.h"
#include "pg/unmapped_update.h"
#include "pg/wakeup.h"

extern "C" {
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);  // NOLINT(bugprone-reserved-identifier): the server asks for it
}

namespace apex::pg {

char* traceparent = nullptr;

namespace {

// A check hook runs wherever a SET is handled, so it reports by its return value and raises
// nothing.
bool CheckTraceparent(char** value, void** /*extra*/, GucSource /*source*/) {
  const char* text = *value;
  if (text == nullptr || text[0] == '\0' || IsTraceparent(text)) return true;
  GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
  GUC_check_errdetail("The value has to be a W3C trace context, 55 characters long in version 00.");
  GUC_check_errhint(
      "For instance 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, or nothing.");
  return false;
}

void DefineSettings() {
  DefineCustomStringVariable(
      "apex.traceparent", "Trace context that the events captured in this session carry.",
      "A W3C traceparent header. The sidecar continues the trace. Empty: events carry none.",
      &traceparent, "", PGC_USERSET, GUC_NOT_IN_SAMPLE, CheckTraceparent, nullptr, nullptr);
  MarkGUCPrefixReserved("apex");
}

}  // namespace
}  // namespace apex::pg

extern "C" void _PG_init(void) {
  apex::pg::Guard([] {
    apex::pg::DefineSettings();
    apex::pg::InitializeWakeup();
    apex::pg::InitializeOutboxBuffer();
    apex::pg::InitializeUnmappedUpdate();
  });
}
