#include "stores/postgres/peek_cursor.h"

#include <algorithm>
#include <utility>

namespace apex::postgres {

void PeekCursor::CatchUp(const PeekPlace& place) {
  if (!span_ || batch_is_seen_) return;
  span_->after_seq = std::max(span_->after_seq, place.read_through_seq);
  if (place.batch_read) span_.reset();
}

void PeekCursor::Begin(const PeekPlace& place, Bound from, Bound to, Bound now) {
  if (batch_is_seen_) {
    span_ = {*seen_, std::move(now)};
  } else if (place.batch_read) {
    batch_is_seen_ = true;
    span_ = {std::move(to), std::move(now)};
  } else {
    span_ = {seen_ ? *seen_ : std::move(from), std::move(to), place.read_through_seq};
  }
}

bool PeekCursor::Passed(int64_t through_seq, bool end) {
  if (!end) {
    span_->after_seq = through_seq;
    return false;
  }
  seen_ = std::move(span_->to);
  span_.reset();
  return std::exchange(batch_is_seen_, true);
}

void PeekCursor::BatchClosed() {
  span_.reset();
  batch_is_seen_ = false;
}

}  // namespace apex::postgres
