// The writers' and the readers' side of the wake-up: shared memory, the commit callback and
// apex.arm().
#include "pg/wakeup.h"

#include <new>

#include "pg/guard.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

namespace apex::pg {

WakeTable* wake_table = nullptr;

namespace {

constexpr const char* kLockTranche = "apex_saga_wakeup";
constexpr int kWorkerStartMsMax = 5000;
constexpr long kWorkerStartLookMs = 10;

shmem_request_hook_type previous_shmem_request = nullptr;
shmem_startup_hook_type previous_shmem_startup = nullptr;

bool captured = false;
WakeSlot* cached_slot = nullptr;

void RequestSharedMemory() {
  if (previous_shmem_request != nullptr) previous_shmem_request();
  RequestAddinShmemSpace(MAXALIGN(sizeof(WakeTable)));
}

void FindOrMakeTable() {
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found = false;
  void* memory = ShmemInitStruct("apex_saga wake-up", sizeof(WakeTable), &found);
  auto* table = static_cast<WakeTable*>(memory);
  if (!found) {
    table = new (memory) WakeTable();
    LWLockInitialize(&table->lock, LWLockNewTrancheId());
  }
  wake_table = table;
  LWLockRegisterTranche(table->lock.tranche, kLockTranche);
  LWLockRelease(AddinShmemInitLock);
}

void AttachWhenPreloaded() {
  if (previous_shmem_startup != nullptr) previous_shmem_startup();
  FindOrMakeTable();
}

// Runs inside commit, when the transaction is already visible to others: nothing here may raise,
// wait or allocate.
void WakeReader() {
  if (wake_table == nullptr) return;
  if (cached_slot == nullptr ||
      cached_slot->database.load(std::memory_order_relaxed) != MyDatabaseId) {
    cached_slot = FindWakeSlot(MyDatabaseId);
    if (cached_slot == nullptr) return;
  }
  if (!cached_slot->flag.Trigger()) return;
  // The worker may end at this moment and its entry serve another process: a latch set for nothing
  // is harmless.
  PGPROC* worker = cached_slot->worker.load();
  if (worker != nullptr) SetLatch(&worker->procLatch);
}

extern "C" void OnTransactionEvent(XactEvent event, void* /*unused*/) {
  switch (event) {
    case XACT_EVENT_COMMIT:
      if (captured) WakeReader();
      captured = false;
      break;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE: captured = false; break;
    default: break;
  }
}

void WarnOnce(bool* warned, const char* message, const char* detail, const char* hint) {
  if (*warned) return;
  *warned = true;
  ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("%s", message),
                    errdetail("%s", detail), errhint("%s", hint)));
}

// True when a worker serves this database and now knows that it is wanted.
bool ArmRunningWorker() {
  const TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(&wake_table->lock, LW_EXCLUSIVE);
  WakeSlot* slot = FindWakeSlot(MyDatabaseId);
  if (slot != nullptr) {
    slot->armed_by = MyProcPid;
    slot->armed_at = now;
    slot->flag.Arm();
  }
  LWLockRelease(&wake_table->lock);
  return slot != nullptr;
}

BackgroundWorkerHandle* StartWorker() {
  BackgroundWorker worker{};
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;  // The next reader that arms starts it again.
  worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
  worker.bgw_notify_pid = MyProcPid;
  snprintf(worker.bgw_name, BGW_MAXLEN, "apex_saga wake-up for database %u", MyDatabaseId);
  strlcpy(worker.bgw_type, "apex_saga wake-up", BGW_MAXLEN);
  strlcpy(worker.bgw_library_name, "apex_saga", sizeof(worker.bgw_library_name));
  strlcpy(worker.bgw_function_name, "apex_wakeup_main", BGW_MAXLEN);
  BackgroundWorkerHandle* handle = nullptr;
  return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : nullptr;
}

// Two sessions may start a worker for one database; the second worker finds the first and leaves,
// and both sessions arm the first. So this waits for any worker of the database, and gives up when
// its own has ended without one.
bool ArmStartedWorker(BackgroundWorkerHandle* handle) {
  const TimestampTz deadline =
      TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kWorkerStartMsMax);
  while (GetCurrentTimestamp() < deadline) {
    pid_t pid = 0;
    const bool stopped = GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
    if (ArmRunningWorker()) return true;
    if (stopped) return false;
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kWorkerStartLookMs,
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  return false;
}

bool Arm() {
  static bool warned_no_memory = false;
  static bool warned_no_worker = false;
  static bool warned_not_started = false;
  if (RecoveryInProgress()) return false;  // A standby commits nothing and may not NOTIFY.
  if (!AttachWakeTable()) {
    WarnOnce(&warned_no_memory, "apex_saga cannot wake readers of this server",
             "The library is not preloaded, and the server has no shared memory left for it; "
             "readers have to poll.",
             "Add apex_saga to shared_preload_libraries and restart the server.");
    return false;
  }
  if (ArmRunningWorker()) return true;
  BackgroundWorkerHandle* handle = StartWorker();
  if (handle == nullptr) {
    WarnOnce(&warned_no_worker, "apex_saga found no free background worker",
             "Nobody can wake the readers of this database, which have to poll.",
             "Raise max_worker_processes.");
    return false;
  }
  if (ArmStartedWorker(handle)) return true;
  WarnOnce(&warned_not_started, "apex_saga's background worker did not start",
           "Nobody can wake the readers of this database, which have to poll.",
           "The server's log says why.");
  return false;
}

}  // namespace

WakeSlot* FindWakeSlot(Oid database) {
  for (WakeSlot& slot : wake_table->slots) {
    if (slot.database.load(std::memory_order_relaxed) == database) return &slot;
  }
  return nullptr;
}

// The server's shared memory has some 100 KB that are nobody's, as contrib's pg_prewarm used to
// know as well. What a process finds gone stays gone, since shared memory is never given back: a
// second look would be for nothing.
//
// A writer comes by here in the middle of its transaction, and must not fail for want of a wake-up.
// Whatever raises here holds AddinShmemInitLock at most, so that it can be caught without a
// subtransaction.
bool AttachWakeTable() {
  static bool looked = false;
  if (wake_table != nullptr || looked) return wake_table != nullptr;
  looked = true;
  MemoryContext context = CurrentMemoryContext;
  const uint32 interrupts_held = InterruptHoldoffCount;
  PG_TRY();
  { FindOrMakeTable(); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    FlushErrorState();
    InterruptHoldoffCount = interrupts_held;  // An ERROR forgets who held them.
    if (LWLockHeldByMe(AddinShmemInitLock)) {
      HOLD_INTERRUPTS();  // As the lock did.
      LWLockRelease(AddinShmemInitLock);
    }
  }
  PG_END_TRY();
  return wake_table != nullptr;
}

void InitializeWakeup() {
  if (process_shared_preload_libraries_in_progress) {
    previous_shmem_request = shmem_request_hook;
    shmem_request_hook = [] { Guard(RequestSharedMemory); };
    previous_shmem_startup = shmem_startup_hook;
    shmem_startup_hook = [] { Guard(AttachWhenPreloaded); };
  }
  RegisterXactCallback(OnTransactionEvent, nullptr);
}

}  // namespace apex::pg

extern "C" void apex_wakeup_note_capture(void) {
  apex::pg::captured = true;
  // Here and not in the commit callback, which must not take a lock.
  (void)apex::pg::AttachWakeTable();
}

APEX_FUNCTION(apex_arm) { PG_RETURN_BOOL(apex::pg::Arm()); }
