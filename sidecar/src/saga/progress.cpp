#include "saga/progress.h"

#include <algorithm>

namespace apex::saga {

void Progress::PieceRead(const Piece& piece) {
  for (const ChangePtr& change : piece.changes) unsettled_.emplace(change->seq, change->captured_at_us);
  if (piece.nothing_pending()) return;
  if (!open_) through_ = recorded_ = 0;
  open_ = true;
  batch_read_ = piece.batch_end;
  through_ = std::max(through_, piece.through_seq);
}

std::optional<CheckpointRequest> Progress::Next() const {
  if (!open_) return std::nullopt;
  CheckpointRequest request;
  request.settled_seq =
      unsettled_.empty() ? through_ : std::min(through_, unsettled_.begin()->first - 1);
  request.close = batch_read_ && unsettled_.empty();
  if (!request.close && request.settled_seq <= recorded_) return std::nullopt;
  return request;
}

void Progress::Recorded(const CheckpointRequest& request) {
  recorded_ = std::max(recorded_, request.settled_seq);
  if (request.close) open_ = batch_read_ = false;
}

std::optional<int64_t> Progress::oldest_captured_at_us() const {
  if (unsettled_.empty()) return std::nullopt;
  return unsettled_.begin()->second;
}

}  // namespace apex::saga
