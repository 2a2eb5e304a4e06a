#include "coordinator/removals.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace apex::coordinator {
namespace {

constexpr size_t kRowsMax = 50000;
// Their images are kept in memory, and there is one for each change of a cached row.
constexpr size_t kEvictedRowsMax = 5000;

bool Removes(const RowWrite& row, Store store) {
  const Change& newest = *row.newest;
  return newest.op == Operation::kDelete ||
         (store == Store::kQdrant && newest.mapping->vector && !newest.embedding);
}

/// Nothing of ours is ever written to an entry that is only invalidated.
bool HoldsEntry(const RowWrite& row) {
  const std::optional<CacheMapping>& cache = row.newest->mapping->cache;
  return cache && cache->mode == CacheMode::kWrite;
}

template <typename Predicate>
std::vector<RowWrite> Those(const std::vector<RowWrite>& rows, Predicate predicate) {
  std::vector<RowWrite> kept;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(kept), predicate);
  return kept;
}

}  // namespace

void Removals::Doubt() { sure_at_ = Deadline::Clock::now() + span_; }

bool Removals::due() const { return !removals_.empty() && Deadline::Clock::now() >= sure_at_; }

/// What is removed before the repetition belongs into it, too: an undo that is repeated may put
/// back what a later delete has taken away.
bool Removals::wanted() const {
  return store_ != Store::kNeo4j && (!removals_.empty() || Deadline::Clock::now() < sure_at_);
}

void Removals::Written(const std::vector<RowWrite>& rows) {
  if (!wanted()) return;
  std::vector<RowWrite> removed =
      Those(rows, [this](const RowWrite& row) { return Removes(row, store_); });
  const size_t count = removed.size();
  Remember(std::move(removed), count, kRowsMax);
}

void Removals::Undone(const std::vector<RowUndo>& rows) {
  if (wanted()) Remember(rows, rows.size(), kRowsMax);
}

void Removals::Evicted(const std::vector<RowWrite>& rows) {
  if (!wanted()) return;
  Eviction eviction{Those(rows, HoldsEntry)};
  const size_t count = eviction.rows.size();
  Remember(std::move(eviction), count, kEvictedRowsMax);
}

void Removals::Remember(Removal removal, size_t rows, size_t rows_max) {
  if (rows == 0) return;
  if (rows_ + rows > rows_max) {
    if (!std::exchange(overflowed_, true)) {
      spdlog::warn(
          "{}: more than {} rows were removed while a late write could arrive; the others are not "
          "removed again",
          Name(store_), rows_max);
    }
    return;
  }
  rows_ += rows;
  removals_.push_back(std::move(removal));
}

Status Removals::Repeat(TargetStore& store, const Fence& fence, Deadline deadline) {
  struct Again {
    TargetStore& store;
    const Fence& fence;
    Deadline deadline;
    Status operator()(const std::vector<RowWrite>& rows) const {
      return store.Write(fence, rows, deadline);
    }
    Status operator()(const std::vector<RowUndo>& rows) const {
      return store.Undo(fence, rows, deadline);
    }
    Status operator()(const Eviction& eviction) const {
      return static_cast<CacheStore&>(store).Evict(eviction.rows, deadline);
    }
  };
  auto next = removals_.begin();
  Status status;
  for (; next != removals_.end() && status.ok(); ++next)
    status = std::visit(Again{store, fence, deadline}, *next);
  if (!status.ok()) --next;
  removals_.erase(removals_.begin(), next);
  if (removals_.empty()) {
    rows_ = 0;
    overflowed_ = false;
  }
  return status;
}

}  // namespace apex::coordinator
