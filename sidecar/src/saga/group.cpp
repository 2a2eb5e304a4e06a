#include "saga/group.h"

#include <algorithm>
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
void SortChangesOfOneRow(std::vector<ChangePtr>& changes) {
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

/// Looks at a change that outlives it.
struct SagaKey {
  uint64_t xid;
  const RowId* aggregate;
  bool operator==(const SagaKey& other) const {
    return xid == other.xid && *aggregate == *other.aggregate;
  }
};

struct SagaKeyHash {
  size_t operator()(const SagaKey& key) const {
    return RowIdHash{}(*key.aggregate) ^ (key.xid * 0x9e3779b97f4a7c15ULL);
  }
};

}  // namespace

std::vector<SagaPtr> GroupIntoSagas(std::span<const ChangePtr> changes, bool replayed) {
  std::unordered_map<SagaKey, std::shared_ptr<Saga>, SagaKeyHash> open;
  std::vector<SagaPtr> sagas;
  for (const ChangePtr& change : changes) {
    std::shared_ptr<Saga>& saga = open[{change->xid, &change->aggregate}];
    if (!saga) {
      saga = std::make_shared<Saga>();
      saga->aggregate = change->aggregate;
      saga->xid = change->xid;
      saga->replayed = replayed;
      sagas.push_back(saga);
    }
    saga->changes.push_back(change);
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

Group Coalesce(std::vector<SagaPtr> sagas) {
  Group group;
  if (sagas.size() == 1 && sagas.front()->IsOneRow()) {
    const ChangePtr& change = sagas.front()->changes.front();
    group.rows.push_back({change->seq, change, {change}});
    group.keys.push_back(change->row);
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
      if (fresh) group.rows.emplace_back();
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
