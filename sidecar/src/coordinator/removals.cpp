#include "coordinator/removals.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace apex::coordinator {
namespace {

constexpr size_t kRowsMax = 50000;

bool Removes(const RowWrite& row) {
  const Change& newest = *row.newest;
  return newest.op == Operation::kDelete || newest.op == Operation::kTruncate ||
         (newest.mapping->vector && !newest.embedding);
}

Status RemoveAgain(TargetStore& store, const Fence& fence, const std::vector<RowWrite>& rows,
                   Deadline deadline) {
  if (!Truncates(rows)) return store.Write(fence, rows, deadline);
  while (true) {
    Result<bool> part = store.Truncate(fence, *rows.front().newest, deadline);
    if (!part.ok()) return part.error();
    if (*part) return {};
  }
}

}  // namespace

void Removals::Doubt() { sure_at_ = Deadline::Clock::now() + span_; }

bool Removals::due() const { return !removals_.empty() && Deadline::Clock::now() >= sure_at_; }

/// What is removed before the repetition belongs into it, too: an undo that is repeated may put
/// back what a later delete has taken away.
bool Removals::wanted() const {
  return store_ == Store::kQdrant && (!removals_.empty() || Deadline::Clock::now() < sure_at_);
}

void Removals::Written(const std::vector<RowWrite>& rows) {
  if (!wanted()) return;
  std::vector<RowWrite> removed;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(removed), Removes);
  const size_t count = removed.size();
  Remember(std::move(removed), count);
}

void Removals::Undone(const std::vector<RowUndo>& rows) {
  if (wanted()) Remember(rows, rows.size());
}

void Removals::Remember(Removal removal, size_t rows) {
  if (rows == 0) return;
  if (rows_ + rows > kRowsMax) {
    if (!std::exchange(overflowed_, true)) {
      spdlog::warn(
          "{}: more than {} rows were removed while a late write could arrive; the others are not "
          "removed again",
          Name(store_), kRowsMax);
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
      return RemoveAgain(store, fence, rows, deadline);
    }
    Status operator()(const std::vector<RowUndo>& rows) const {
      return store.Undo(fence, rows, deadline);
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
