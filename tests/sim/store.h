// A simulated Neo4j, Qdrant or Redis: versioned rows under the guards that core/target_store.h asks
// for. A delete leaves no tombstone, as in the real stores.
//
// Neo4j is transactional and knows the leader's epoch. Qdrant and Redis apply a part of what they
// refuse, and take what a dead leader sent until its deadline is over; their clients therefore
// repeat, in order, what a takeover deleted or undid before that.
#pragma once

#include <map>
#include <optional>
#include <set>
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
  kUnavailable,  ///< Not served; asking later may help.
  kLost,         ///< Times out unseen.
  kAnswerLost,   ///< Times out after the store applied it.
  kCutShort,  ///< Times out after the store applied a part; where the store is transactional, none.
  kRefused,   ///< The store refuses everything, a probe included.
};

class SimStore {
 public:
  struct Held {
    int64_t version = 0;
    std::string image;
  };

  SimStore(Store store, const SimOptions& options, const SimPostgres& postgres, Dice& dice,
           Violations& violations);

  /// `late`: sent by a leader that is dead by now.
  Status Execute(const Request& request, int64_t epoch, Fate fate, bool late = false);

  /// A new leader claims the fence and begins to remember what it deletes and undoes.
  void TakenOver(int64_t epoch);
  /// The deadlines of the dead leader are over.
  void RepeatDeletions();

  const Held* Find(const RowId& row) const;

 private:
  using Repeatable = std::variant<RowWrite, RowUndo>;

  Status WriteRows(const std::vector<RowWrite>& rows, size_t rows_max, bool late);
  Status UndoRows(const std::vector<RowUndo>& rows, size_t rows_max, bool late);
  void Apply(const RowWrite& row, bool late);
  void Apply(const RowUndo& undo, bool late);
  bool transactional() const { return store_ == Store::kNeo4j; }
  StoreError Error(ErrorKind kind, std::string_view code) const;
  void Report(const std::string& what, const RowId& row);

  const Store store_;
  const SimOptions& options_;
  const SimPostgres& postgres_;
  Dice& dice_;
  Violations& violations_;
  std::map<RowId, Held> rows_;
  std::map<RowId, int64_t>
      deleted_;  ///< The checker's knowledge: the version that deleted a row that is not there.
  int64_t fence_ = 0;
  bool remembering_ = false;
  std::vector<Repeatable> remembered_;
};

}  // namespace apex::sim
