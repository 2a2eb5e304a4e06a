// What the leader reads from and writes down in PostgreSQL, as values. See
// docs/internals/extension-and-sidecar.md, "The pipeline and its sagas".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/change.h"

namespace apex {

/// A few thousand events of the open snapshot batch, in seq order. It can be empty inside a batch
/// whose events all belong to recorded failures.
struct Piece {
  std::vector<ChangePtr> changes;
  int64_t through_seq = 0;  ///< Every event of the batch up to here has been handed out.
  bool batch_end = false;   ///< The batch has no event beyond this piece.
  int64_t sagas_split = 0;  ///< Sagas larger than the named size, delivered in parts.

  /// No batch is open and none is worth opening.
  bool nothing_pending() const { return changes.empty() && batch_end && through_seq == 0; }
};

/// How much a piece may have at most; one row it has always.
struct PieceSize {
  int64_t rows_max = 0;
  int64_t bytes_max = 0;
};

/// From where on changes are read without being taken: what the engine has read is behind it.
struct PeekPlace {
  int64_t read_through_seq = 0;  ///< Of the open batch.
  bool batch_read = false;       ///< The whole of it.
};

struct RowVersion {
  RowId row;
  int64_t seq = 0;

  bool operator==(const RowVersion&) const = default;
};

struct CheckpointRequest {
  int64_t settled_seq = 0;  ///< Everything of the open batch up to here is settled.
  bool close = false;       ///< The whole batch is: A becomes B.
  std::vector<RowVersion>
      superseded;  ///< Parked rows, failed before `seq`, that a change has carried forward (E6); a
                   ///< table stands for all of its rows (E9).
  bool open_next = false;  ///< With `close`: the batch that was read ahead is opened.

  bool operator==(const CheckpointRequest&) const = default;
};

/// A group of coalesced sagas that failed for good, as it is written down before anything is undone
/// (E5).
struct FailureRecord {
  struct Row {
    RowId row;
    int32_t mapping = 0;
    int64_t failed_seq = 0;  ///< The row's version: the highest seq of its events.
    int64_t first_seq = 0;   ///< The lowest.
    int64_t oldest_seq = 0;  ///< Of its oldest event, by (command, seq) in one transaction: that
                             ///< one's `before` was accepted. Of a refresh only where it has no
                             ///< other: the row is then left as it is.
    /// The row is still parked in PostgreSQL, but the stores have accepted a later change since:
    /// the accepted image is the oldest event's `before`, not the one that the parked row would
    /// hand on.
    bool carried_forward = false;
  };

  std::string id;  ///< Of the group's last saga, uuid text.
  RowId aggregate;
  std::vector<uint64_t> xids;
  std::vector<Store> steps;  ///< That ran, failed or are unknown, in the order they ran.
  std::string failed_step;   ///< "write_qdrant", or "capture".
  std::string error_type;    ///< From a closed set, for metrics.
  std::string native_code;
  std::string error;  ///< The store's own words.
  std::string traceparent;
  std::vector<Row> rows;
  std::vector<int64_t> events;  ///< seqs
};

/// A failure whose compensation is not settled: of this leader, or found at the start and resumed.
struct RecordedFailure {
  std::string id;
  std::vector<Store> steps;
  std::string failed_step;
  std::string error_type;
  std::vector<RowUndo> rows;
};

struct Leadership {
  int64_t epoch = 0;
  std::string system_identifier;
  std::string database;  ///< Its name.
  bool another_history = false;
  std::vector<RecordedFailure> compensating;
  std::vector<RowVersion> parked_rows;  ///< At the seq that failed.
};

/// What one step of a pipeline's backfills did.
struct BackfillStep {
  int64_t rows_sent = 0;
  std::chrono::milliseconds wait{0};  ///< No further step before this time is over.
};

enum class FailureState { kParked, kCompensationFailed };

}  // namespace apex
