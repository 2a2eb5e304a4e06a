// Sagas that have been read and not yet been put into a batch, and the rule by which they leave
// (E1, E2).
//
// Not thread-safe: part of the engine's state.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "saga/group.h"

namespace apex::saga {

using RowSet = std::unordered_set<RowId, RowIdHash>;
using TableSet = std::set<uint32_t>;  ///< oids

class WaitingSagas {
 public:
  void Add(SagaPtr saga);

  /// Takes groups in the order of their oldest saga until they hold `rows_max` rows (at least one
  /// group; a group is never cut). Invalidations by hand have a bound of their own. Every waiting
  /// saga that shares a row or aggregate with a taken one comes along, so that no older image is
  /// ever written while a newer one waits; a group that touches a key of `busy`, or a table of
  /// `held`, stays whole. So does one that was in part handed out ahead of its turn, after
  /// `through_seq`: an older change of the same row may be yet to come.
  std::vector<Group> Take(int64_t rows_max, const RowSet& busy, int64_t through_seq,
                          const TableSet& held = {});

  struct Voided {
    std::vector<ChangePtr> changes;
    int64_t sagas = 0;  ///< Of which nothing is left.
  };
  /// Takes the changes of a table below this seq out of their sagas (rule E9).
  Voided Void(uint32_t relation, int64_t below_seq);

  /// A saga has a change of this row, or it as its aggregate.
  bool Holds(const RowId& key) const { return by_key_.contains(key); }

  int64_t changes() const { return changes_; }
  bool empty() const { return sagas_.empty(); }

 private:
  using Serial = uint64_t;

  Few<Serial> ConnectedTo(Serial first) const;
  void Insert(Serial serial, SagaPtr saga);
  void Remove(Serial serial);

  Serial next_serial_ = 0;
  std::map<Serial, SagaPtr> sagas_;  ///< In the order of arrival, which is the order of last seq.
  std::unordered_map<RowId, Few<Serial>, RowIdHash> by_key_;
  int64_t changes_ = 0;
};

}  // namespace apex::saga
