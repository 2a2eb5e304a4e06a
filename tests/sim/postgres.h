// A simulated PostgreSQL: writers with transactions and row locks, the outbox, the pipeline's row
// and the saga tables, as docs/internals/extension-and-sidecar.md states them. Every call of the
// leader is one transaction.
//
// Snapshots are the sets of committed transactions; how a real reader tells them apart by xid and
// seq is another model's business.
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "core/ledger.h"
#include "dice.h"
#include "image.h"
#include "options.h"

namespace apex::sim {

class SimPostgres {
 public:
  struct Truth {
    std::optional<std::string> image;
    bool encodable = true;
    int64_t seq = 0;  ///< Version of the last committed change.
    MappingPtr mapping;
  };

  struct SagaRow {
    std::string saga;
    int64_t failed_seq = 0;
    int64_t accepted_seq = 0;
    std::optional<std::string> accepted;
    MappingPtr mapping;
    std::vector<std::string> images;
    std::vector<ChangePtr> changes;

    /// A refresh that failed: what the stores held before it is not known, and nothing was undone.
    bool left_alone() const { return accepted_seq == failed_seq; }
  };

  enum class SagaState { kCompensating, kParked, kCompensationFailed };
  struct Saga {
    SagaState state = SagaState::kCompensating;
    FailureRecord record;
    std::set<int64_t> events;
  };

  SimPostgres(const SimOptions& options, Dice& dice, SimCounts& counts, Violations& violations);

  // Writers.
  /// Some transaction begins, writes, commits or rolls back.
  void WriteSomething();
  void CommitEverything();

  // The leader's calls.
  Leadership Lead();
  int64_t epoch() const { return epoch_; }
  bool batch_open() const { return batch_open_; }
  int64_t settled() const { return settled_; }
  int64_t handed_out() const { return handed_out_; }
  void RecordHandedOut(int64_t seq) { handed_out_ = std::max(handed_out_, seq); }
  /// Committed, in no batch yet.
  const std::map<int64_t, ChangePtr>& pending() const { return pending_; }
  /// Makes a batch of some of what is pending. False when there is nothing.
  bool OpenBatch(std::map<int64_t, ChangePtr> events);
  /// Every event of the open batch that is still to be read, by seq.
  std::map<int64_t, ChangePtr> ReadableEvents() const;
  std::vector<RowUndo> RecordFailure(const FailureRecord& record);
  void SettleFailure(const std::string& saga, FailureState state);
  void Checkpoint(const CheckpointRequest& request);

  // The checker's view.
  bool everything_delivered() const { return !batch_open_ && pending_.empty(); }
  const std::map<RowId, Truth>& truth() const { return truth_; }
  const std::map<RowId, SagaRow>& saga_rows() const { return saga_rows_; }
  const std::map<std::string, Saga>& sagas() const { return sagas_; }

 private:
  struct Transaction {
    uint64_t xid = 0;
    int32_t command = 0;
    std::map<RowId, Truth> rows;
    std::vector<ChangePtr> changes;
    std::set<uint32_t> truncated;  ///< Tables that it keeps to itself.
  };

  void TruncateSomething(Transaction& transaction);
  void WriteRow(Transaction& transaction);
  bool IsLocked(const RowId& row, const Transaction* by_other_than) const;
  void RefreshSomething();
  ChangePtr Capture(Transaction& transaction, const RowId& row, int64_t seq, const Truth& before,
                    const Truth& after);
  Truth NewImage(const Truth& before);
  void Commit(Transaction& transaction);
  void Leave(const RowId& row);
  void LeaveAll(const RowVersion& table);
  void Revert(const std::string& saga);
  bool MayRevert(const RowId& row, const SagaRow& parked) const;

  const SimOptions& options_;
  Dice& dice_;
  SimCounts& counts_;
  Violations& violations_;

  std::map<uint32_t, MappingPtr> mappings_;
  std::map<RowId, Truth> truth_;
  std::vector<Transaction> open_;
  std::map<RowId, Truth> read_too_early_;  ///< What a flawed refresh will send.
  uint64_t next_xid_ = 100;
  int64_t next_seq_ = 1;
  int64_t next_image_ = 1;

  std::map<int64_t, ChangePtr> pending_;
  std::map<int64_t, ChangePtr> batch_;  ///< Of the open batch.
  bool batch_open_ = false;
  int64_t settled_ = 0;
  int64_t handed_out_ = 0;
  int64_t epoch_ = 0;

  std::map<std::string, Saga> sagas_;
  std::map<RowId, SagaRow> saga_rows_;  ///< A row is in one saga at most (E6).
};

}  // namespace apex::sim
