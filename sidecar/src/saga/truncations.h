// Truncations of whole tables that have been read and are not carried out yet (rule E9): what each
// of them makes void, and which tables it holds up.
//
// A truncation is a barrier in its table. What is older and has not been sent is void; what is in
// flight ends first; what is newer waits. Not thread-safe: part of the engine's state.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "saga/waiting.h"

namespace apex::saga {

class Truncations {
 public:
  /// Takes the place of an older one of the table that has not been taken yet, which is returned,
  /// or null.
  SagaPtr Add(SagaPtr truncation);

  bool empty() const { return held_.empty(); }
  /// How many have been taken and are not done.
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  /// The tables whose changes have to wait.
  const TableSet& held() const { return held_; }
  /// Older than a truncation of its table that waits.
  bool Voids(const Change& change) const;

  /// One of this table has not been taken.
  bool Waits(uint32_t relation) const { return waiting_.contains(relation); }

  /// Those whose turn it is: nothing of the table is in `busy`, and all that is older has been
  /// read.
  std::vector<SagaPtr> Take(const RowSet& busy, int64_t through_seq);
  /// The one of this table that was taken has been carried out.
  void Done(uint32_t relation);

 private:
  std::map<uint32_t, SagaPtr> waiting_;  ///< The newest of each table.
  TableSet running_;
  TableSet held_;  ///< Of both.
};

}  // namespace apex::saga
