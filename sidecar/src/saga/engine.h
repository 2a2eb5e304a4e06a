// The saga engine: a pure state machine, step(state, event, now) -> (state, actions).
//
// It knows no store, no clock and no I/O. Whoever drives it carries every action out and answers
// each Read, ReadAhead, Peek, Evict, Write, Probe, RecordFailure, Undo, SettleFailure and
// Checkpoint with its event, in any order and after any time. One engine serves one epoch of one
// pipeline; after Stop it is thrown away. Not thread-safe. The same events at the same times with
// the same seed give the same actions.
//
// The rules E1-E6 and E9-E11 that it keeps are the design's; ARCHITECTURE.md retells them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "saga/batch_sizer.h"
#include "saga/breaker.h"
#include "saga/events.h"
#include "saga/group.h"
#include "saga/progress.h"
#include "saga/truncations.h"
#include "saga/waiting.h"

namespace apex::saga {

struct EngineOptions {
  std::set<Store> targets;  ///< The configured ones of Neo4j, Qdrant and Redis.
  int64_t batch_rows_max = 2000;
  Time write_target{100};  ///< Batches have fewer rows where a store takes longer than this.
  int64_t batches_in_flight_max = 2;
  int64_t piece_rows_max = 4000;
  int64_t pending_rows_max = 20000;  ///< No piece is read while a successor would read more changes
                                     ///< than this again, unless what waits needs it.
  Backoff backoff;
  /// The same in bytes of images, so that large rows do not take more memory than small ones.
  int64_t pending_bytes_max = 64 << 20;
  int64_t piece_bytes_max = 16 << 20;  ///< A piece ends with the row that passes this.
  /// While nothing can be read and nothing arrives in the cache for this long, entries of what is
  /// committed meanwhile go all the same.
  Time peek_after{250};
  Time peek_interval{100};
  bool one_batch_per_row = true;  ///< Rule E1; the simulator leaves it out to see itself notice.
  bool truncations_wait = true;   ///< Rule E9; likewise.
  Time give_up_after{0};          ///< A batch whose store fails for longer is parked; 0: never.
  uint64_t seed = 0;              ///< Of the backoff's jitter.
};

class Engine {
 public:
  explicit Engine(EngineOptions options);

  std::vector<Action> Step(Event event, Time now);

  /// When to send a Tick at the latest; nothing: no need.
  std::optional<Time> next_tick() const;
  bool drained() const;
  int64_t active_sagas() const { return active_sagas_; }
  int64_t unsettled_changes() const { return progress_.unsettled(); }
  /// How many batches have been opened: each begins with everything committed before it.
  int64_t batches() const { return progress_.batches(); }
  std::optional<int64_t> oldest_captured_at_us() const { return progress_.oldest_captured_at_us(); }

 private:
  enum class StepState { kNotNeeded, kIdle, kRunning, kDone, kFailed };

  struct StepRecord {
    StepState state = StepState::kNotNeeded;
    bool touched = false;  ///< Sent at least once, by this batch or the one it was cut from.
    int64_t rows = 0;      ///< As many were sent.
    bool gave_up = false;
    std::optional<StoreError> error;
  };

  struct Batch;

  /// A batch that a store refused, being halved until the groups at fault stand alone (rule E4).
  /// Whether it is they or the store is then asked of the store: a refusal counts against a group
  /// only between two probes that succeeded.
  struct Split {
    Store store = Store::kNeo4j;
    int64_t outstanding = 0;  ///< Parts whose answer is not known yet.
    bool proven =
        false;  ///< A probe succeeded, and what stood alone has been sent once more since.
    std::vector<std::shared_ptr<Batch>> refused;  ///< Single groups.
  };

  /// The splits that wait for a probe of one store.
  struct Probing {
    std::vector<std::shared_ptr<Split>> waiting;
    std::vector<std::shared_ptr<Split>> asked;  ///< Of the probe that is under way.
  };

  struct Batch {
    uint64_t id = 0;
    std::vector<Group> groups;
    std::array<StepRecord, 4> steps;  ///< By Store.
    std::shared_ptr<Split> split;
    RowWrites rows;           ///< Of all groups, once a store has been sent them.
    bool truncates = false;   ///< Its one group is a table: no store can blame it on a row.
    bool unanswered = false;  ///< A store has not said whether it wrote it.

    StepRecord& step(Store store) { return steps[static_cast<size_t>(store)]; }
    bool to_be_cut() const { return unanswered && groups.size() > 1; }
  };
  using BatchPtr = std::shared_ptr<Batch>;

  /// A group on its way through compensation (rule E5). `group` is empty when it was found at the
  /// start.
  struct Failure {
    uint64_t id = 0;
    Group group;
    FailureRecord record;
    bool recorded = false;
    std::vector<Store> to_undo;  ///< The next one last.
    bool undo_running = false;
    RowUndos rows;
    FailureState outcome = FailureState::kParked;
    bool settling = false;
  };

  struct Eviction {
    RowWrites rows;
    bool running = false;
  };

  void On(Led event);
  void On(PieceArrived event);
  void On(AheadArrived event);
  void On(const Peeked& event);
  void On(Woken event);
  void On(const EvictFinished& event);
  void On(const WriteFinished& event);
  void On(const ProbeFinished& event);
  void On(FailureRecorded event);
  void On(const UndoFinished& event);
  void On(const FailureSettled& event);
  void On(const CheckpointFinished& event);
  void On(Tick event);
  void On(Drain event);

  // engine.cpp: reading, batching, checkpoints.
  void Pump();
  void EvictEntriesOf(const std::vector<ChangePtr>& changes);
  void SendEvictions();
  std::vector<ChangePtr> WithoutVoid(std::vector<ChangePtr> changes);
  void SettleVoid(const Change& change);
  void Await(SagaPtr saga);
  void FormBatches();
  void FormTruncations(const RowSet& busy);
  void ReadOn();
  void ReadAheadOfTheBatch();
  void PeekWhenHeld();
  void NoteOvertaken(const std::vector<ChangePtr>& changes);
  bool Overtaken(const RowWrite& row) const;
  void Accept(Piece piece);
  PieceSize NextSize() const;
  void WriteCheckpoint();
  void Release(const Group& group);
  void StopFor(const StoreError& error);

  // engine_batches.cpp: the steps of a batch, halving, blame.
  void AddBatch(std::vector<Group> groups, const Batch* parent);
  void Advance(const BatchPtr& batch);
  bool CutIfUnanswered(const BatchPtr& batch);
  void AddHalves(const BatchPtr& batch);
  bool AdvanceStage(const BatchPtr& batch, std::span<const Store> stage);
  static RowWrites RowsFor(Batch& batch, Store store);
  bool EvictionIsBefore(const Batch& batch, Store store) const;
  void Isolate(const BatchPtr& batch, Store store);
  void PartAnswered(const std::shared_ptr<Split>& split);
  void SendProbes();
  void SendAgain(const std::shared_ptr<Split>& split);
  void Blame(const std::shared_ptr<Split>& split, bool gave_up);
  void GiveUp(const BatchPtr& batch, Store store);
  void Settle(const BatchPtr& batch);
  void EvictOvertaken(const Batch& batch);
  void SettleTruncation(const RowWrite& table);
  bool GaveUp(Store store) const;

  // engine_failures.cpp: compensation.
  void Fail(Group group, const Batch* batch, std::string failed_step, std::string error_type,
            const StoreError& error);
  std::vector<Store> StepsToUndo(const Group& group, const Batch* batch) const;
  bool TakeCarriedForward(const RowId& row);
  void AdvanceFailure(Failure& failure);
  void FinishFailure(uint64_t id);

  BatchSizer& sizer(Store store) { return sizers_[static_cast<size_t>(store)]; }
  int64_t BatchRows() const;

  Breaker& breaker(Store store) { return breakers_[static_cast<size_t>(store)]; }
  const Breaker& breaker(Store store) const { return breakers_[static_cast<size_t>(store)]; }
  void StoreFailed(Store store, const StoreError& error);
  void StoreAnswered(Store store);
  bool Sendable(Store store) { return breaker(store).Allows(now_); }

  EngineOptions options_;
  std::mt19937_64 random_;
  Time now_{0};
  std::vector<Action> actions_;
  bool stopped_ = false;
  bool draining_ = false;
  std::string system_identifier_;

  WaitingSagas waiting_;
  Truncations truncations_;
  RowSet busy_;  ///< Keys in flight or in compensation.
  std::unordered_map<RowId, int64_t, RowIdHash>
      parked_;  ///< Rows whose next change supersedes a parked one, which failed at this seq.
  Progress progress_;
  int64_t pending_bytes_ = 0;     ///< Of what was read and is not settled.
  int64_t bytes_per_change_ = 1;  ///< In the last piece.
  std::array<Breaker, 4> breakers_;
  std::array<BatchSizer, 4> sizers_;

  std::map<uint64_t, BatchPtr> batches_;
  std::map<uint64_t, Failure> failures_;
  std::map<uint64_t, Eviction>
      evictions_;  ///< Ids come from one count: those of a batch's rows are lower than its own.
  std::map<Store, Probing> probing_;
  uint64_t next_id_ = 1;

  bool led_ = false;
  bool reading_ = false;
  std::optional<Piece> ahead_;   ///< Of the batch behind the open one; no successor knows of it.
  bool ahead_asked_ = false;     ///< Since a batch of rows was last settled.
  std::optional<Time> peek_at_;  ///< When to look; not set: it can be read.
  std::unordered_map<RowId, int64_t, RowIdHash>
      overtaken_;  ///< Rows and tables that have unsettled changes and, peeked at, one of this seq.
  bool window_read_ =
      false;  ///< The first piece has come: what follows no earlier leader has written.
  enum class Listening { kNo, kArming, kArmed, kWaiting } listening_ = Listening::kNo;
  bool checkpointing_ = false;
  CheckpointRequest checkpoint_;
  std::vector<RowVersion> superseded_;  ///< Not yet covered by a checkpoint.
  SagasSucceeded succeeded_;            ///< Settled in the stores, not yet covered by a checkpoint.
  SagasSucceeded in_checkpoint_;
  int64_t active_sagas_ = 0;
};

}  // namespace apex::saga
