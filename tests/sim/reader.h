// The leader's reader: cuts the open batch into pieces that never end inside a saga, and begins an
// epoch with the whole window of the one before (rule E10).
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "core/ledger.h"
#include "options.h"
#include "postgres.h"

namespace apex::sim {

class SimReader {
 public:
  SimReader(SimPostgres& postgres, const SimOptions& options)
      : postgres_(postgres),
        options_(options),
        after_(postgres.settled()),
        window_end_(postgres.handed_out()) {}

  Piece Read(int64_t rows_max) {
    if (!postgres_.batch_open()) {
      if (!postgres_.OpenBatch()) return {{}, 0, true, 0};
      after_ = 0;
      ahead_.clear();
    }
    const int64_t window_end = std::exchange(window_end_, 0);
    const bool window = window_end > after_ && options_.flaw != Flaw::kWindowInPieces;
    const std::map<int64_t, ChangePtr> events = postgres_.ReadableEvents();

    Piece piece;
    piece.through_seq = std::max<int64_t>(after_, 1);
    std::set<std::pair<uint64_t, RowId>> sagas;
    auto at = events.upper_bound(after_);
    for (; at != events.end(); ++at) {
      const bool full =
          window ? at->first > window_end : static_cast<int64_t>(piece.changes.size()) >= rows_max;
      if (full) break;
      piece.through_seq = at->first;
      if (ahead_.erase(at->first) > 0) continue;
      piece.changes.push_back(at->second);
      sagas.emplace(at->second->xid, at->second->aggregate);
    }
    if (window) piece.through_seq = std::max(piece.through_seq, window_end);
    piece.batch_end = at == events.end();
    for (; at != events.end(); ++at) {
      if (!sagas.contains({at->second->xid, at->second->aggregate})) continue;
      if (ahead_.insert(at->first).second) piece.changes.push_back(at->second);
    }
    after_ = piece.through_seq;
    postgres_.RecordHandedOut(after_);
    return piece;
  }

 private:
  SimPostgres& postgres_;
  const SimOptions& options_;
  int64_t after_;
  int64_t window_end_;
  std::set<int64_t> ahead_;  ///< Handed out before their turn.
};

}  // namespace apex::sim
