/*
 * An extension that writes a row while the transaction commits. Loaded before apex_saga, it is called after it:
 * PostgreSQL calls first what registered last.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(write_at_commit);

static char *command = NULL;

static void at_transaction_event(XactEvent event, void *arg) {
  const char *wanted = command;

  command = NULL;
  if (wanted == NULL || (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)) return;
  PushActiveSnapshot(GetTransactionSnapshot());
  SPI_connect();
  SPI_execute(wanted, false, 0);
  SPI_finish();
  PopActiveSnapshot();
}

/* write_at_commit(command text): runs the command when this transaction commits or is prepared. */
Datum write_at_commit(PG_FUNCTION_ARGS) {
  command = MemoryContextStrdup(TopTransactionContext, text_to_cstring(PG_GETARG_TEXT_PP(0)));
  PG_RETURN_VOID();
}

void _PG_init(void) { RegisterXactCallback(at_transaction_event, NULL); }
