#include "saga/progress.h"

#include <algorithm>

namespace apex::saga {

void Progress::PieceRead(const Piece& piece) {
  for (const ChangePtr& change : piece.changes) {
    // What was handed out ahead of its turn stands behind what comes now.
    const auto at = Place(change->seq);
    if (at != window_.end() && at->seq == change->seq) continue;
    window_.insert(at, {change->seq, change->captured_at_us, false});
    ++unsettled_;
  }
  if (piece.nothing_pending()) return;
  if (!open_) {
    ++batches_;
    through_ = 0;
    // Nothing below the batch's first change waits to be settled, so there is nothing to record
    // yet.
    recorded_ = window_.empty() ? 0 : window_.front().seq - 1;
  }
  open_ = true;
  batch_read_ = piece.batch_end;
  through_ = std::max(through_, piece.through_seq);
}

void Progress::Settled(const Change& change) {
  const auto at = Place(change.seq);
  if (at == window_.end() || at->seq != change.seq || at->settled) return;
  at->settled = true;
  --unsettled_;
  while (!window_.empty() && window_.front().settled) window_.pop_front();
}

/// The first entry that is not below.
std::deque<Progress::Entry>::iterator Progress::Place(int64_t seq) {
  if (window_.empty() || window_.back().seq < seq) return window_.end();
  return std::lower_bound(window_.begin(), window_.end(), seq,
                          [](const Entry& entry, int64_t wanted) { return entry.seq < wanted; });
}

std::optional<CheckpointRequest> Progress::Next() const {
  if (!open_) return std::nullopt;
  CheckpointRequest request;
  request.settled_seq = window_.empty() ? through_ : std::min(through_, window_.front().seq - 1);
  request.close = batch_read_ && window_.empty();
  if (!request.close && request.settled_seq <= recorded_) return std::nullopt;
  return request;
}

void Progress::Recorded(const CheckpointRequest& request) {
  recorded_ = std::max(recorded_, request.settled_seq);
  if (request.close) open_ = batch_read_ = false;
}

std::optional<int64_t> Progress::oldest_captured_at_us() const {
  if (window_.empty()) return std::nullopt;
  return window_.front().captured_at_us;
}

}  // namespace apex::saga
