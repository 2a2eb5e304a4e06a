// What was taken out of Qdrant while a write that nobody waits for any more could still arrive.
//
// Qdrant knows a row's version only while it holds the row. A write that an earlier leader had
// under way, or that this one has given up, would bring back what has been removed since; so what
// is deleted or undone in that time is done once more when it is over, in the same order. The
// fences of Neo4j and Redis let no such write in. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <variant>
#include <vector>

#include "core/target_store.h"

namespace apex::coordinator {

class Removals {
 public:
  /// `span`: how long after it was given up a call may still arrive.
  Removals(Store store, std::chrono::milliseconds span) : store_(store), span_(span) {}

  /// From now on, and for the span, something that was given up may arrive.
  void Doubt();
  /// All of it has arrived or never will, and there is something to do once more.
  bool due() const;

  // What the store has said yes to.
  void Written(const std::vector<RowWrite>& rows);
  void Undone(const std::vector<RowUndo>& rows);

  /// Does it all once more and forgets it; on a failure what is left is kept.
  Status Repeat(TargetStore& store, const Fence& fence, Deadline deadline);

 private:
  using Removal = std::variant<std::vector<RowWrite>, std::vector<RowUndo>>;

  bool wanted() const;
  void Remember(Removal removal, size_t rows);

  const Store store_;
  const std::chrono::milliseconds span_;
  Deadline::Clock::time_point sure_at_{};
  std::vector<Removal> removals_;
  size_t rows_ = 0;
  bool overflowed_ = false;
};

}  // namespace apex::coordinator
