#include "stores/postgres/batch_reader.h"

#include <algorithm>
#include <utility>

namespace apex::postgres {
namespace {

/// Two sagas of one hash would only make a metric count one too many.
size_t SagaHash(const Change& change) {
  return RowIdHash{}(change.aggregate) * 0x9E3779B97F4A7C15U + change.xid;
}

}  // namespace

Piece BatchReader::Accept(std::vector<ChangePtr> changes, int64_t rows_max) {
  // The run comes first; everything behind it was fetched ahead.
  const auto run_end =
      window_end_
          ? std::partition_point(
                changes.begin(), changes.end(),
                [this](const ChangePtr& each) { return each->seq <= *window_end_; })
          : changes.begin() + std::min<int64_t>(rows_max, static_cast<int64_t>(changes.size()));
  const int64_t run = run_end - changes.begin();

  Piece piece;
  piece.batch_end = !window_end_ && run < rows_max;
  if (window_end_) {
    after_ = *std::exchange(window_end_, std::nullopt);
  } else if (run > 0) {
    after_ = changes[run - 1]->seq;
  }
  piece.through_seq = after_;

  piece.changes.reserve(changes.size());
  for (int64_t i = 0; i < static_cast<int64_t>(changes.size()); ++i) {
    const int64_t seq = changes[i]->seq;
    const bool fresh = i < run ? ahead_.erase(seq) == 0 : ahead_.insert(seq).second;
    if (fresh) piece.changes.push_back(std::move(changes[i]));
  }
  // A batch of one piece, the usual one, splits nothing.
  if (!piece.batch_end || !delivered_.empty()) piece.sagas_split = CountSplit(piece.changes);
  return piece;
}

int64_t BatchReader::CountSplit(const std::vector<ChangePtr>& changes) {
  std::unordered_set<size_t> sagas;
  for (const ChangePtr& change : changes) sagas.insert(SagaHash(*change));
  int64_t split = 0;
  for (const size_t saga : sagas) split += delivered_.contains(saga) ? 1 : 0;
  if (delivered_.size() + sagas.size() > kSagasWatchedMax) delivered_.clear();
  delivered_.merge(sagas);
  return split;
}

}  // namespace apex::postgres
