// A simulated Neo4j, Qdrant or Redis: versioned rows under the guards that core/target_store.h asks
// for. A delete leaves no tombstone, as in the real stores.
//
// Neo4j is transactional; Qdrant and Redis apply a part of what they refuse. Neo4j and Redis take
// nothing of an earlier leader, nor what a leader sent before its last request: by the
// transaction's guard and by ending connections. Qdrant takes what a dead or impatient leader sent
// until its deadline is over.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dice.h"
#include "image.h"
#include "options.h"
#include "postgres.h"
#include "saga/events.h"

namespace apex::sim {

using Request = std::variant<saga::Evict, saga::Write, saga::Probe, saga::Undo>;

/// What befalls a request on its way.
enum class Fate {
  kArrives,
  kArrivesTwice,
  kUnavailable,  ///< Not served; asking later may help.
  kLost,         ///< Times out unseen.
  kLate,         ///< Times out, and is applied after that.
  kAnswerLost,   ///< Times out after the store applied it.
  kCutShort,  ///< Times out after the store applied a part; where the store is transactional, none.
  kShort,     ///< Is acknowledged although only a part was applied: the client has to count.
  kRefused,   ///< The store refuses everything, a probe included.
};

/// Whose request it is, and the how manyth of its leader.
struct Turn {
  int64_t epoch = 0;
  int64_t number = 0;
  auto operator<=>(const Turn&) const = default;
};

class SimStore {
 public:
  struct Held {
    int64_t version = 0;
    std::string image;
  };

  SimStore(Store store, const SimOptions& options, const SimPostgres& postgres, Dice& dice,
           SimCounts& counts, Violations& violations);

  /// `late`: nobody waits for it any more.
  Status Execute(const Request& request, Turn turn, Fate fate, bool late = false);

  bool transactional() const { return store_ == Store::kNeo4j; }
  bool fenced() const { return store_ != Store::kQdrant; }
  const Held* Find(const RowId& row) const;

 private:
  bool Fences(Turn turn) const;
  Status Apply(const Request& request, Fate fate, bool late);
  template <typename Row, typename Refuses>
  Status ApplyRows(const std::vector<Row>& rows, Fate fate, bool late, Refuses refuses);
  void Apply(const RowWrite& row, bool late);
  void Truncate(const RowWrite& table);
  void EraseTable(const RowWrite& table);
  void Apply(const RowUndo& undo, bool late);
  StoreError Error(ErrorKind kind, std::string_view code) const;
  void Report(const std::string& what, const RowId& row);

  const Store store_;
  const SimOptions& options_;
  const SimPostgres& postgres_;
  Dice& dice_;
  SimCounts& counts_;
  Violations& violations_;
  std::map<RowId, Held> rows_;
  std::map<RowId, int64_t>
      deleted_;  ///< The checker's knowledge: the version that deleted a row that is not there.
  Turn fence_;
};

}  // namespace apex::sim
