// What the saga engine hears and what it asks for. Values only: who carries an action out, on which
// thread and against what, is the dispatcher's business, or the simulator's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/ledger.h"
#include "core/result.h"

namespace apex::saga {

// ---- Events ----

/// Leadership was won. The first event, once.
struct Led {
  Leadership leadership;
};
/// Answers Read. The first piece of an epoch is the whole window that the last leader may have
/// written (rule E10).
struct PieceArrived {
  Result<Piece> piece;
};
/// Answers ReadAhead; without changes there was nothing worth it.
struct AheadArrived {
  Result<Piece> piece;
};
/// Answers Peek. `batch_end`: no more is committed.
struct Peeked {
  Result<Piece> piece;
};
/// Answers Arm, or reports a wake-up after it: something may have been committed.
struct Woken {
  bool armed = false;  ///< A notification will come at the next commit; until then reading again
                       ///< finds nothing.
};
struct EvictFinished {
  uint64_t eviction = 0;
  Status status;
};
struct WriteFinished {
  uint64_t batch = 0;
  Store store = Store::kNeo4j;
  Status status;
  std::chrono::microseconds took{0};  ///< By the rows: no wait for its turn, nothing else.
};
struct ProbeFinished {
  Store store = Store::kNeo4j;
  Status status;
};
struct FailureRecorded {
  uint64_t failure = 0;
  Result<std::vector<RowUndo>> rows;
};
struct UndoFinished {
  uint64_t failure = 0;
  Store store = Store::kNeo4j;
  Status status;
};
struct FailureSettled {
  uint64_t failure = 0;
  Status status;
};
struct CheckpointFinished {
  Status status;
};
/// Time has passed.
struct Tick {};
/// Start nothing new; `Engine::drained()` tells when what was in flight is done and written down.
struct Drain {};

using Event = std::variant<Led, PieceArrived, AheadArrived, Peeked, Woken, EvictFinished,
                           WriteFinished, ProbeFinished, FailureRecorded, UndoFinished,
                           FailureSettled, CheckpointFinished, Tick, Drain>;

// ---- Actions ----

using RowWrites = std::shared_ptr<const std::vector<RowWrite>>;
using RowUndos = std::shared_ptr<const std::vector<RowUndo>>;

struct Read {
  PieceSize size;
};
/// Read the first piece of the batch behind the open one, if there is a whole piece. It is written
/// once a Checkpoint has opened that batch.
struct ReadAhead {
  PieceSize size;
};
/// Look at changes that cannot be read yet. They will be read later, and none of them is written
/// before.
struct Peek {
  PieceSize size;
  PeekPlace place;
};
/// Ask for a notification at the next commit; answered by Woken.
struct Arm {};
/// Nothing is pending and the wake-up is armed: answer with Woken at a notification or after the
/// poll interval.
struct AwaitChange {};
struct Evict {
  uint64_t eviction = 0;
  RowWrites rows;
};
struct Write {
  uint64_t batch = 0;
  Store store = Store::kNeo4j;
  RowWrites rows;
};
/// Find out whether the store takes writes at all, before sagas are blamed.
struct Probe {
  Store store = Store::kNeo4j;
};
struct RecordFailure {
  uint64_t failure = 0;
  FailureRecord record;
};
struct Undo {
  uint64_t failure = 0;
  Store store = Store::kNeo4j;
  RowUndos rows;
};
struct SettleFailure {
  uint64_t failure = 0;
  std::string id;
  FailureState state = FailureState::kParked;
};
struct Checkpoint {
  CheckpointRequest request;
};
/// This process must not write any more: leadership or PostgreSQL is lost. The successor, perhaps
/// this process again, starts from what PostgreSQL recorded. The last action of an engine.
struct Stop {
  StoreError reason;
};

// Observations, for metrics and the log.
struct SagasSucceeded {
  int64_t sagas = 0;
  std::vector<int64_t> captured_at_us;  ///< Of each change that settled.
};
struct SagasFailed {
  int64_t sagas = 0;
  FailureRecord record;
  FailureState state = FailureState::kParked;
};
struct StepCompensated {
  Store store = Store::kNeo4j;
  bool compensated = false;
};
struct StoreFailing {
  StoreError error;
};
struct StoreRecovered {
  Store store = Store::kNeo4j;
};

using Action = std::variant<Read, ReadAhead, Peek, Arm, AwaitChange, Evict, Write, Probe,
                            RecordFailure, Undo, SettleFailure, Checkpoint, Stop, SagasSucceeded,
                            SagasFailed, StepCompensated, StoreFailing, StoreRecovered>;

}  // namespace apex::saga
