// Sagas, and the groups of them that must be written and must fail together. Pure values.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/change.h"

namespace apex::saga {

/// The changes that one transaction made to one aggregate. Immutable once its piece has been read.
struct Saga {
  explicit Saga(ChangePtr first) : aggregate(first->aggregate), xid(first->xid) {
    changes.push_back(std::move(first));
  }

  const RowId& aggregate;  ///< Of its first change, which it keeps.
  uint64_t xid = 0;
  Few<ChangePtr> changes;  ///< In seq order.
  bool replayed = false;   ///< An earlier leader may have written it already (rule E10).

  int64_t first_seq() const { return changes.front()->seq; }
  int64_t last_seq() const { return changes.back()->seq; }
  /// One change of a row that is its own aggregate, as most sagas are.
  bool IsOneRow() const { return changes.size() == 1 && changes.front()->row == aggregate; }
};

using SagaPtr = std::shared_ptr<const Saga>;

/// Splits a piece (in seq order) into sagas, ordered by their last seq.
std::vector<SagaPtr> GroupIntoSagas(std::span<const ChangePtr> changes, bool replayed = false);

/// Sagas that share an aggregate or a row, directly or through each other, coalesced: the newest
/// image of a row stands for all (rule E2). A group is written and fails as a unit.
struct Group {
  Few<SagaPtr> sagas;       ///< By last seq.
  Few<RowWrite> rows;       ///< One a row, by first appearance.
  std::vector<RowId> keys;  ///< Its aggregates and rows, unless it is one row that is its own.

  /// Visits every aggregate and row of the group; held while it is in flight (rule E1).
  template <typename Visit>
  void ForEachKey(Visit visit) const {
    if (keys.empty() && !rows.empty()) visit(rows.front().newest->row);
    for (const RowId& key : keys) visit(key);
  }
  /// Whether any row's mapping names the store.
  bool Needs(Store store) const;
  /// Whether a store may hold some of it although this leader has not sent it.
  bool Replayed() const;
  /// It is a table that is truncated, and nothing else.
  bool Truncates() const { return apex::Truncates(rows); }
  /// The row whose newest change could not be encoded at capture, if there is one.
  const Change* Unencodable() const;
};

/// Coalesces `sagas`. Inside one transaction a row's changes are ordered by (command, seq), because
/// a trigger that updates its own row captures the later image first; the row's version is its
/// highest seq.
Group Coalesce(Few<SagaPtr> sagas);

}  // namespace apex::saga
