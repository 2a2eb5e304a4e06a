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
        place_{postgres.settled(), {}},
        window_end_(postgres.handed_out()) {}

  Piece Read(int64_t rows_max) {
    if (!postgres_.batch_open()) {
      if (!postgres_.OpenBatch(postgres_.pending())) return {{}, 0, true, 0};
      place_ = {};
    }
    const int64_t window_end = std::exchange(window_end_, 0);
    const bool window = window_end > place_.after && options_.flaw != Flaw::kWindowInPieces;
    std::map<int64_t, ChangePtr> events = postgres_.ReadableEvents();
    if (window && options_.flaw == Flaw::kTruncationNotReplayed) {
      std::erase_if(events, [](const auto& event) { return event.second->row.IsTable(); });
    }
    Piece piece = Cut(events, place_, window ? window_end : 0, rows_max);
    postgres_.RecordHandedOut(place_.after);
    return piece;
  }

  /// The first piece of what is committed behind the open batch; nothing is recorded.
  Piece ReadAhead(int64_t rows_max) {
    next_ = postgres_.pending();
    next_place_ = {};
    return next_.empty() ? Piece{} : Cut(next_, next_place_, 0, rows_max);
  }

  /// What is committed and has not been read; nothing is recorded.
  Piece Peek(const PeekPlace& place) const {
    Piece piece{{}, 0, true, 0};
    if (!place.batch_read) {
      for (const auto& [seq, change] : postgres_.ReadableEvents()) {
        if (seq > place.read_through_seq) piece.changes.push_back(change);
      }
    }
    for (const auto& [seq, change] : postgres_.pending()) piece.changes.push_back(change);
    return piece;
  }

  void OpenNext() {
    postgres_.OpenBatch(next_);
    place_ = std::exchange(next_place_, {});
    postgres_.RecordHandedOut(place_.after);
  }

 private:
  struct Place {
    int64_t after = 0;
    std::set<int64_t> ahead;  ///< Handed out before their turn.
  };

  /// `window_end`: not 0: everything up to there.
  static Piece Cut(const std::map<int64_t, ChangePtr>& events, Place& place, int64_t window_end,
                   int64_t rows_max) {
    Piece piece;
    piece.through_seq = std::max<int64_t>(place.after, 1);
    std::set<std::pair<uint64_t, RowId>> sagas;
    auto at = events.upper_bound(place.after);
    for (; at != events.end(); ++at) {
      const bool full = window_end > 0 ? at->first > window_end
                                       : static_cast<int64_t>(piece.changes.size()) >= rows_max;
      if (full) break;
      piece.through_seq = at->first;
      if (place.ahead.erase(at->first) > 0) continue;
      piece.changes.push_back(at->second);
      sagas.emplace(at->second->xid, at->second->aggregate);
    }
    piece.through_seq = std::max(piece.through_seq, window_end);
    piece.batch_end = at == events.end();
    for (; at != events.end(); ++at) {
      if (!sagas.contains({at->second->xid, at->second->aggregate})) continue;
      if (place.ahead.insert(at->first).second) piece.changes.push_back(at->second);
    }
    place.after = piece.through_seq;
    return piece;
  }

  SimPostgres& postgres_;
  const SimOptions& options_;
  Place place_;
  int64_t window_end_;
  std::map<int64_t, ChangePtr> next_;  ///< The batch behind the open one.
  Place next_place_;
};

}  // namespace apex::sim
