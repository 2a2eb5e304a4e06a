#include "saga/group.h"

#include <algorithm>
#include <bit>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

namespace apex::saga {
namespace {

bool MappingNames(const TableMapping& mapping, Store store) {
  switch (store) {
    case Store::kNeo4j: return mapping.node.has_value() || mapping.edge.has_value();
    case Store::kQdrant: return mapping.vector.has_value();
    case Store::kRedis: return mapping.cache.has_value();
    case Store::kPostgres: return true;
  }
  return false;
}

/// Oldest first. Transactions on one row never interleave, so each is placed by the highest seq it
/// gave the row.
void SortChangesOfOneRow(Few<ChangePtr>& changes) {
  if (changes.size() < 2) return;
  std::unordered_map<uint64_t, int64_t> last_of_transaction;
  for (const ChangePtr& change : changes) {
    int64_t& last = last_of_transaction[change->xid];
    last = std::max(last, change->seq);
  }
  auto key = [&](const ChangePtr& change) {
    return std::tuple(last_of_transaction[change->xid], change->command, change->seq);
  };
  std::sort(changes.begin(), changes.end(),
            [&](const ChangePtr& a, const ChangePtr& b) { return key(a) < key(b); });
}

size_t SagaHash(const Change& change) {
  return RowIdHash{}(change.aggregate) ^ (change.xid * 0x9e3779b97f4a7c15ULL);
}

/// The sagas of a piece by transaction and aggregate: a table with open addressing, made for as
/// many as there can be, so that it never grows.
class OpenSagas {
 public:
  explicit OpenSagas(size_t sagas_max) : slots_(std::bit_ceil(2 * sagas_max + 1)) {}

  /// The place of the change's saga; null: it has none yet.
  Saga*& Find(const Change& change) {
    size_t at = SagaHash(change) & (slots_.size() - 1);
    while (slots_[at] &&
           (slots_[at]->xid != change.xid || slots_[at]->aggregate != change.aggregate)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return slots_[at];
  }

 private:
  std::vector<Saga*> slots_;
};

}  // namespace

std::vector<SagaPtr> GroupIntoSagas(std::span<const ChangePtr> changes, bool replayed) {
  OpenSagas open(changes.size());
  std::vector<SagaPtr> sagas;
  sagas.reserve(changes.size());
  for (const ChangePtr& change : changes) {
    Saga*& open_saga = open.Find(*change);
    if (open_saga) {
      open_saga->changes.push_back(change);
      continue;
    }
    auto saga = std::make_shared<Saga>(change);
    saga->replayed = replayed;
    open_saga = saga.get();
    sagas.push_back(std::move(saga));
  }
  std::sort(sagas.begin(), sagas.end(),
            [](const SagaPtr& a, const SagaPtr& b) { return a->last_seq() < b->last_seq(); });
  return sagas;
}

bool Group::Needs(Store store) const {
  return std::any_of(rows.begin(), rows.end(), [&](const RowWrite& row) {
    if (row.newest->op == Operation::kInvalidate) return store == Store::kRedis;
    return MappingNames(*row.newest->mapping, store);
  });
}

bool Group::Replayed() const {
  return std::any_of(sagas.begin(), sagas.end(),
                     [](const SagaPtr& saga) { return saga->replayed; });
}

const Change* Group::Unencodable() const {
  for (const RowWrite& row : rows) {
    if (!row.newest->capture_error.empty()) return row.newest.get();
  }
  return nullptr;
}

Group Coalesce(Few<SagaPtr> sagas) {
  Group group;
  if (sagas.size() == 1 && sagas.front()->IsOneRow()) {
    const ChangePtr& change = sagas.front()->changes.front();
    group.rows.push_back({change->seq, change, {change}});
    group.sagas = std::move(sagas);
    return group;
  }
  std::sort(sagas.begin(), sagas.end(),
            [](const SagaPtr& a, const SagaPtr& b) { return a->last_seq() < b->last_seq(); });
  std::unordered_map<RowId, size_t, RowIdHash> index;
  std::unordered_set<RowId, RowIdHash> keys;
  for (const SagaPtr& saga : sagas) {
    keys.insert(saga->aggregate);
    for (const ChangePtr& change : saga->changes) {
      auto [at, fresh] = index.try_emplace(change->row, group.rows.size());
      if (fresh) group.rows.push_back({});
      group.rows[at->second].changes.push_back(change);
      keys.insert(change->row);
    }
  }
  for (RowWrite& row : group.rows) {
    SortChangesOfOneRow(row.changes);
    row.newest = row.changes.back();
    for (const ChangePtr& change : row.changes) row.seq = std::max(row.seq, change->seq);
  }
  group.sagas = std::move(sagas);
  group.keys.assign(keys.begin(), keys.end());
  return group;
}

}  // namespace apex::saga
