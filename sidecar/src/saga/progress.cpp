#include "saga/progress.h"

#include <algorithm>

namespace apex::saga {

void Progress::PieceRead(const Piece& piece) {
  for (const ChangePtr& change : piece.changes) {
    if (window_.try_emplace(change->seq, Entry{change->captured_at_us}).second) ++unsettled_;
  }
  if (piece.nothing_pending()) return;
  if (!open_) {
    through_ = 0;
    // Nothing below the batch's first change waits to be settled, so there is nothing to record
    // yet.
    recorded_ = window_.empty() ? 0 : window_.begin()->first - 1;
  }
  open_ = true;
  batch_read_ = piece.batch_end;
  through_ = std::max(through_, piece.through_seq);
}

void Progress::Settled(const Change& change) {
  auto at = window_.find(change.seq);
  if (at == window_.end() || at->second.settled) return;
  at->second.settled = true;
  --unsettled_;
  while (!window_.empty() && window_.begin()->second.settled) window_.erase(window_.begin());
}

std::optional<CheckpointRequest> Progress::Next() const {
  if (!open_) return std::nullopt;
  CheckpointRequest request;
  request.settled_seq = window_.empty() ? through_ : std::min(through_, window_.begin()->first - 1);
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
  return window_.begin()->second.captured_at_us;
}

}  // namespace apex::saga
