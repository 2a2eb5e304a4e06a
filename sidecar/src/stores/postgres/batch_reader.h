// Where the reader stands in the open snapshot batch: what to ask for next, and which of the answer
// is new.
//
// A piece is a run of events in seq order. Behind it come the other events of its sagas that lie
// further on; they are handed out ahead of their turn and left out when it comes. Pure; not
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "core/ledger.h"
#include "stores/postgres/changes.h"

namespace apex::postgres {

class BatchReader {
 public:
  /// Sagas of one batch beyond this many are no longer watched for being split.
  static constexpr size_t kSagasWatchedMax = 1 << 18;

  /// No batch is open.
  BatchReader() = default;
  /// A batch is open, of which the last leader settled everything up to `settled` and may have
  /// written everything up to `handed_out`: the first piece is what lies between (rule E10).
  BatchReader(int64_t settled, int64_t handed_out) : after_(settled), window_end_(handed_out) {}

  /// The next piece begins after this seq.
  int64_t after() const { return after_; }
  /// Set: the next piece is everything up to this seq.
  std::optional<int64_t> window_end() const { return window_end_; }

  /// Takes what read_piece returned for after() and window_end(). Nothing at all ends the batch.
  Piece Accept(PieceChanges read);

  /// The batch was closed.
  void Close() { *this = BatchReader(); }

 private:
  int64_t CountSplit(const std::vector<ChangePtr>& changes);

  int64_t after_ = 0;
  std::optional<int64_t> window_end_;
  std::unordered_set<int64_t> ahead_;  ///< seqs handed out before their turn
  std::vector<size_t> delivered_;      ///< Hashes of the sagas of earlier pieces, in order
};

}  // namespace apex::postgres
