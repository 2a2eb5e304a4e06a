// The wake-up: tells the sidecar that something was committed, without a NOTIFY in any writer's
// commit.
//
// A commit that captured something sets the latch of its database's worker, if a reader has armed
// it; the worker sends one NOTIFY. All of it is an optimisation of latency: a reader polls as well,
// so a wake-up that is lost with a crashed worker, or that COMMIT PREPARED does not give, costs one
// poll interval.
//
// Backend-local except for WakeTable, which lives in shared memory: reserved when the module is
// preloaded, else taken by whoever needs it first out of what the server keeps for small needs.
#pragma once

#include <atomic>

#include "core/wake_flag.h"
#include "pg/postgres_api.h"

extern "C" {
#include "storage/lwlock.h"
#include "storage/proc.h"

/// To be called by whoever wrote an event in this transaction; at its commit the reader is woken.
/// Idempotent, cheap and never an error.
void apex_wakeup_note_capture(void);
}

namespace apex::pg {

/// A database whose worker runs. The slot belongs to the worker from Attach to its exit.
struct WakeSlot {
  std::atomic<Oid> database{InvalidOid};
  std::atomic<PGPROC*> worker{nullptr};
  WakeFlag flag;
  // Who armed last and when; under the table's lock.
  int armed_by = 0;
  TimestampTz armed_at = 0;
};

struct WakeTable {
  static constexpr int kDatabasesMax = 64;

  LWLock lock;
  WakeSlot slots[kDatabasesMax];
};

/// Nullptr until AttachWakeTable() has succeeded.
extern WakeTable* wake_table;

/// Asks for shared memory when preloaded, and follows the transactions of this backend. Called
/// once, from _PG_init.
void InitializeWakeup();

/// Finds the table, or makes it when this is the first process that needs it. False when the server
/// has no room for it, which is looked at once per process. Never an error.
bool AttachWakeTable();

/// The slot of a database, or nullptr when no worker serves it. Reads atomics only.
WakeSlot* FindWakeSlot(Oid database);

}  // namespace apex::pg
