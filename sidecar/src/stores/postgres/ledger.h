// The leader's book in PostgreSQL: leadership, the outbox, the checkpoint and the log of failed
// sagas.
//
// Connects when first used and again after a failure; a lost connection does not end the epoch.
// Heartbeat and Backfill have a connection of their own each, so that neither waits behind a slow
// read nor holds one up, and may be called from one other thread each at any time. Everything else
// belongs to one thread. No call outlasts its deadline.
//
// Every call names the epoch won last; once another process leads, all fail with native_code
// kFenced and nothing is written. After kUnknownOutcome, TryLead again: it reads back what was
// written.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ledger.h"
#include "core/result.h"
#include "stores/postgres/batch_reader.h"
#include "stores/postgres/changes.h"
#include "stores/postgres/peek_cursor.h"
#include "stores/postgres/session.h"

namespace apex::postgres {

struct LedgerOptions {
  std::string dsn;
  std::string password;
  std::string pipeline = "default";
  std::string
      leader;  ///< This process, differently from every other one: host name and process id.
  int64_t lease_ms = 1500;
};

class Ledger {
 public:
  explicit Ledger(LedgerOptions options);

  /// Nothing: another process leads. Ends the session of a leader whose lease has run out, or whose
  /// name is this one's. A piece handed out before is void. Load comes next, once heartbeats are on
  /// their way: what there is to load may take longer than the lease.
  Result<std::optional<Leadership>> TryLead(Deadline deadline);
  /// Takes up what the last leader left: the failed sagas of the epoch won last.
  Status Load(Leadership& leadership, Deadline deadline);
  /// kFenced when the epoch no longer leads.
  Status Heartbeat(Deadline deadline);
  /// Ends the lease, so that a standby takes over at once. Only after the last write to any store.
  Status Resign(Deadline deadline);

  /// Every mapping of the pipeline, old ones included: events may still name them.
  Result<std::vector<MappingPtr>> LoadMappings(Deadline deadline);

  /// The next piece, of fewer rows than `rows_max` when these have more than `bytes_max`. Opens a
  /// batch when none is open and something is pending; what it returns has been recorded as handed
  /// out, durably. May be called while earlier pieces are unsettled. The first piece of an epoch is
  /// the whole window that the last leader may have written, however large. An event of a row
  /// parked at a version not lower is left out.
  Result<Piece> Read(PieceSize size, Deadline deadline);
  /// The first piece of the batch behind the open one, when at least `size.rows_max` events wait
  /// there; else an empty one. None of it may be written before a Checkpoint with open_next.
  Result<Piece> ReadAhead(PieceSize size, Deadline deadline);
  /// Changes that no call of Read has returned yet, from where the last call of Peek ended; those
  /// of tables without a cache are among them. `batch_end`: no more is committed. Records nothing.
  Result<Piece> Peek(PieceSize size, const PeekPlace& place, Deadline deadline);
  /// Idempotent, unless it opens a batch. Closing needs a piece with batch_end and all of the batch
  /// settled.
  Status Checkpoint(const CheckpointRequest& request, Deadline deadline);

  /// Writes down the failure, its events and the images accepted before it; idempotent per id.
  /// Returns what to undo.
  Result<std::vector<RowUndo>> RecordFailure(const FailureRecord& record, Deadline deadline);
  /// Ends a compensation. A saga that was put back everywhere is reverted or handed to its handler
  /// in the same transaction, if its table is attached so; what goes wrong there only parks it.
  Status SettleFailure(const std::string& id, FailureState state, Deadline deadline);

  /// Sends the next rows, up to `rows_max`, of whatever backfill of the pipeline is due. Nothing:
  /// there is none.
  Result<std::optional<BackfillStep>> Backfill(int64_t rows_max, Deadline deadline);

  /// Empties the part of the outbox that every pipeline has passed, when there is one.
  Status Rotate(Deadline deadline);

 private:
  /// A batch that was read ahead.
  struct NextBatch {
    std::string to_snapshot;
    std::string to_ceiling;
    std::string to_position;
    BatchReader reader;
  };

  Result<PieceChanges> ReadChanges(const std::string& sql,
                                   const std::vector<Session::Parameter>& parameters,
                                   Deadline deadline);
  Status Know(int32_t mapping, Deadline deadline);
  /// How long one statement may take from now on; 0: any time.
  Status LimitStatements(std::chrono::milliseconds span, Deadline deadline);
  Result<std::vector<RowUndo>> ParseUndo(const Rows& rows, Deadline deadline);
  std::string epoch() const { return std::to_string(epoch_.load()); }

  const LedgerOptions options_;
  std::atomic<int64_t> epoch_ = 0;
  Session session_;
  Session heartbeat_session_;
  Session backfill_session_;
  Mappings mappings_;
  BatchReader reader_;
  std::optional<NextBatch> next_;
  PeekCursor peeked_;
};

}  // namespace apex::postgres
