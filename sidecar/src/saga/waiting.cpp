#include "saga/waiting.h"

#include <algorithm>

namespace apex::saga {
namespace {

template <typename Visit>
void ForEachKey(const Saga& saga, Visit visit) {
  visit(saga.aggregate);
  for (const ChangePtr& change : saga.changes) {
    if (change->row != saga.aggregate) visit(change->row);
  }
}

/// Invalidations by hand concern the cache alone, where many patterns are looked for in the time of
/// one: a batch has them besides its rows.
constexpr int64_t kInvalidationsMax = 10'000;

bool IsInvalidation(const RowWrite& row) { return row.newest->op == Operation::kInvalidate; }

}  // namespace

void WaitingSagas::Add(SagaPtr saga) { Insert(next_serial_++, std::move(saga)); }

void WaitingSagas::Insert(Serial serial, SagaPtr saga) {
  ForEachKey(*saga, [&](const RowId& key) {
    Few<Serial>& holders = by_key_[key];
    if (holders.empty() || holders.back() != serial) holders.push_back(serial);
  });
  changes_ += static_cast<int64_t>(saga->changes.size());
  sagas_.emplace(serial, std::move(saga));
}

WaitingSagas::Voided WaitingSagas::Void(uint32_t relation, int64_t below_seq) {
  const auto stays = [&](const ChangePtr& change) {
    // An invalidation by hand is not of the table that carries it.
    return change->op == Operation::kInvalidate || change->row.relation != relation ||
           change->seq >= below_seq;
  };
  std::vector<Serial> touched;
  for (const auto& [serial, saga] : sagas_) {
    if (!std::ranges::all_of(saga->changes, stays)) touched.push_back(serial);
  }
  Voided voided;
  for (const Serial serial : touched) {
    const SagaPtr saga = sagas_.at(serial);
    Remove(serial);
    std::shared_ptr<Saga> rest;
    for (const ChangePtr& change : saga->changes) {
      if (!stays(change)) {
        voided.changes.push_back(change);
      } else if (rest) {
        rest->changes.push_back(change);
      } else {
        rest = std::make_shared<Saga>(change);
        rest->replayed = saga->replayed;
      }
    }
    if (rest) {
      Insert(serial, std::move(rest));
    } else {
      ++voided.sagas;
    }
  }
  return voided;
}

std::vector<Group> WaitingSagas::Take(int64_t rows_max, const RowSet& busy, int64_t through_seq,
                                      const TableSet& held) {
  std::vector<Group> groups;
  std::unordered_set<Serial> left_behind;
  int64_t rows = 0;
  int64_t invalidations = 0;
  auto at = sagas_.begin();
  while (at != sagas_.end() && rows < rows_max && invalidations < kInvalidationsMax) {
    const Serial first = at->first;
    ++at;
    if (left_behind.contains(first)) continue;
    const Few<Serial> members = ConnectedTo(first);
    bool stays = false;
    for (Serial member : members) {
      const Saga& saga = *sagas_.at(member);
      stays = stays || saga.last_seq() > through_seq;
      ForEachKey(saga, [&](const RowId& key) {
        stays = stays || busy.contains(key) || (!held.empty() && held.contains(key.relation));
      });
    }
    if (stays) {
      left_behind.insert(members.begin(), members.end());
      continue;
    }
    Few<SagaPtr> sagas;
    for (Serial member : members) {
      sagas.push_back(sagas_.at(member));
      if (at != sagas_.end() && at->first == member) ++at;
      Remove(member);
    }
    groups.push_back(Coalesce(std::move(sagas)));
    const auto& taken = groups.back().rows;
    const auto by_hand = std::count_if(taken.begin(), taken.end(), IsInvalidation);
    invalidations += by_hand;
    rows += static_cast<int64_t>(taken.size()) - by_hand;
  }
  return groups;
}

Few<WaitingSagas::Serial> WaitingSagas::ConnectedTo(Serial first) const {
  Few<Serial> members{first};
  const Saga& saga = *sagas_.at(first);
  if (saga.IsOneRow() && by_key_.at(saga.aggregate).size() == 1) return members;
  std::unordered_set<Serial> seen{first};
  for (size_t i = 0; i < members.size(); ++i) {
    ForEachKey(*sagas_.at(members[i]), [&](const RowId& key) {
      for (Serial holder : by_key_.at(key)) {
        if (seen.insert(holder).second) members.push_back(holder);
      }
    });
  }
  std::sort(members.begin(), members.end());
  return members;
}

void WaitingSagas::Remove(Serial serial) {
  auto at = sagas_.find(serial);
  ForEachKey(*at->second, [&](const RowId& key) {
    auto holders = by_key_.find(key);
    if (holders == by_key_.end()) return;
    holders->second.Erase(serial);
    if (holders->second.empty()) by_key_.erase(holders);
  });
  changes_ -= static_cast<int64_t>(at->second->changes.size());
  sagas_.erase(at);
}

}  // namespace apex::saga
