#include "stores/postgres/batch_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace apex::postgres {
namespace {

/// Two sagas of one hash would only make a metric count one too many.
size_t SagaHash(const Change& change) {
  return RowIdHash{}(change.aggregate) * 0x9E3779B97F4A7C15U + change.xid;
}

}  // namespace

Piece BatchReader::Accept(PieceChanges read) {
  std::vector<ChangePtr>& changes = read.changes;
  Piece piece;
  piece.batch_end = !window_end_ && (changes.empty() || read.batch_end);
  if (window_end_) {
    after_ = *std::exchange(window_end_, std::nullopt);
  } else if (!changes.empty()) {
    after_ = read.through_seq;
  }
  piece.through_seq = after_;

  // The run comes first; everything behind it was fetched ahead.
  const auto run_end =
      std::partition_point(changes.begin(), changes.end(),
                           [this](const ChangePtr& each) { return each->seq <= after_; });
  const int64_t run = run_end - changes.begin();
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
  std::vector<size_t> sagas;
  sagas.reserve(changes.size());
  for (const ChangePtr& change : changes) sagas.push_back(SagaHash(*change));
  std::ranges::sort(sagas);
  sagas.erase(std::unique(sagas.begin(), sagas.end()), sagas.end());

  std::vector<size_t> all;
  all.reserve(delivered_.size() + sagas.size());
  std::ranges::set_union(delivered_, sagas, std::back_inserter(all));
  const size_t split = delivered_.size() + sagas.size() - all.size();
  delivered_ = std::move(all.size() > kSagasWatchedMax ? sagas : all);
  return static_cast<int64_t>(split);
}

}  // namespace apex::postgres
