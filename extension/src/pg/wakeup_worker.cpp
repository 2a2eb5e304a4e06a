// The background worker of the wake-up: one a database, while somebody wants to be woken.
#include "pg/guard.h"
#include "pg/wakeup.h"

extern "C" {
#include "access/xact.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

PGDLLEXPORT void apex_wakeup_main(Datum database);
}

namespace apex::pg {
namespace {

constexpr const char* kChannel = "apex_outbox";
// How often the worker looks whether it is still wanted, and how long it stays for nobody. DROP
// DATABASE waits five seconds for the sessions of a database to end; a worker whose reader has gone
// is gone before.
constexpr long kLookMs = 1000;
constexpr int kUnwantedMsMax = 2000;
constexpr long kRetryMs = 1000;
// The part of the cluster's notification queue that has to be taken before nothing is added to it,
// and how often that is looked at.
constexpr double kQueueShareMax = 0.01;
constexpr int kQueueLookMs = 1000;

enum class Outcome { kSent, kFailed, kExtensionGone };

// The slot of this process, nullptr when another worker serves the database already or every slot
// is taken.
WakeSlot* AttachSlot() {
  const TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(&wake_table->lock, LW_EXCLUSIVE);
  WakeSlot* slot = nullptr;
  const bool served = FindWakeSlot(MyDatabaseId) != nullptr;
  if (!served) slot = FindWakeSlot(InvalidOid);
  if (slot != nullptr) {
    slot->armed_by = 0;
    slot->armed_at = now;
    slot->flag.Reset();
    slot->worker.store(MyProc);
    slot->database.store(MyDatabaseId);
  }
  LWLockRelease(&wake_table->lock);
  if (!served && slot == nullptr) {
    ereport(WARNING,
            (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
             errmsg("apex_saga wakes readers in %d databases at most", WakeTable::kDatabasesMax),
             errdetail("The readers of this database have to poll.")));
  }
  return slot;
}

void Release(WakeSlot* slot) {
  slot->database.store(InvalidOid);
  slot->worker.store(nullptr);
  slot->flag.Reset();
}

extern "C" void ReleaseSlotOnExit(int /*code*/, Datum datum) {
  auto* slot = reinterpret_cast<WakeSlot*>(DatumGetPointer(datum));
  LWLockAcquire(&wake_table->lock, LW_EXCLUSIVE);
  if (slot->worker.load() == MyProc) Release(slot);
  LWLockRelease(&wake_table->lock);
}

// A reader that is connected keeps its worker, however long it sleeps.
bool IsWanted(const WakeSlot& slot, TimestampTz now) {
  if (!TimestampDifferenceExceeds(slot.armed_at, now, kUnwantedMsMax)) return true;
  if (slot.armed_by == 0) return false;
  PGPROC* reader = BackendPidGetProc(slot.armed_by);
  return reader != nullptr && reader->databaseId == MyDatabaseId;
}

// A worker without a reader goes: it is a session that DROP DATABASE would trip over. The slot is
// given back under the lock that arming takes, so nobody arms a worker that has decided to go.
bool LeaveWhenUnwanted(WakeSlot* slot) {
  const TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(&wake_table->lock, LW_EXCLUSIVE);
  const bool wanted = IsWanted(*slot, now);
  if (!wanted) Release(slot);
  LWLockRelease(&wake_table->lock);
  return !wanted;
}

// The cluster has one notification queue, of which a session that listens and does not read keeps
// all that came after it stopped. When it is full every NOTIFY fails, in every database: ours must
// not be what fills it.
bool QueueIsFilling() {
  static TimestampTz looked_at = 0;
  static bool is_filling = false;
  const TimestampTz now = GetCurrentTimestamp();
  if (!is_filling && !TimestampDifferenceExceeds(looked_at, now, kQueueLookMs)) return false;
  looked_at = now;
  const bool was_filling = is_filling;
  is_filling = DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE)) > kQueueShareMax;
  if (is_filling && !was_filling) {
    ereport(WARNING,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
             errmsg("apex_saga does not add to a notification queue that is filling up"),
             errdetail("Some session listens and does not read, or is in a transaction for long. "
                       "Until it has gone on, the readers of this database have to poll."),
             errhint("See pg_notification_queue_usage(), and pg_stat_activity for old "
                     "transactions.")));
  }
  return is_filling;
}

Outcome NotifyInTransaction() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  const bool installed = OidIsValid(get_extension_oid("apex_saga", true));
  const bool sends = installed && !QueueIsFilling();
  if (sends) Async_Notify(kChannel, "");
  CommitTransactionCommand();
  if (!installed) return Outcome::kExtensionGone;
  return sends ? Outcome::kSent : Outcome::kFailed;
}

// An ERROR is reported and survived.
Outcome Notify() {
  volatile Outcome outcome = Outcome::kFailed;
  MemoryContext context = CurrentMemoryContext;
  pgstat_report_activity(STATE_RUNNING, "NOTIFY apex_outbox");
  PG_TRY();
  { outcome = NotifyInTransaction(); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    HOLD_INTERRUPTS();
    EmitErrorReport();
    AbortCurrentTransaction();
    FlushErrorState();
    RESUME_INTERRUPTS();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
  pgstat_report_activity(STATE_IDLE, nullptr);
  return outcome;
}

void Serve(WakeSlot* slot) {
  for (;;) {
    long wait_ms = kLookMs;
    if (slot->flag.Take()) {
      const Outcome outcome = Notify();
      if (outcome == Outcome::kExtensionGone) return;
      if (outcome == Outcome::kFailed) {
        slot->flag.PutBack();
        if (LeaveWhenUnwanted(slot)) return;
        wait_ms = kRetryMs;
      }
    } else if (LeaveWhenUnwanted(slot)) {
      return;
    }
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait_ms,
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
    if (ConfigReloadPending) {
      ConfigReloadPending = false;
      ProcessConfigFile(PGC_SIGHUP);
    }
  }
}

void RunWorker(Oid database) {
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
  if (!AttachWakeTable()) return;
  // The notification is about commits that are made already: waiting for its own record on disk
  // gives nobody anything.
  SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);

  WakeSlot* slot = AttachSlot();
  if (slot == nullptr) return;
  before_shmem_exit(ReleaseSlotOnExit, PointerGetDatum(slot));
  Serve(slot);
}

}  // namespace
}  // namespace apex::pg

extern "C" void apex_wakeup_main(Datum database) {
  apex::pg::Guard([database] { apex::pg::RunWorker(DatumGetObjectId(database)); });
}
