#include "saga/truncations.h"

#include <algorithm>
#include <utility>

namespace apex::saga {

SagaPtr Truncations::Add(SagaPtr truncation) {
  const uint32_t relation = truncation->aggregate.relation;
  held_.insert(relation);
  return std::exchange(waiting_[relation], std::move(truncation));
}

bool Truncations::Voids(const Change& change) const {
  if (change.op == Operation::kInvalidate) return false;
  const auto at = waiting_.find(change.row.relation);
  return at != waiting_.end() && change.seq < at->second->last_seq();
}

std::vector<SagaPtr> Truncations::Take(const RowSet& busy, int64_t through_seq) {
  std::vector<SagaPtr> taken;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto [relation, truncation] = *at;
    const bool in_flight = std::ranges::any_of(
        busy, [table = relation](const RowId& key) { return key.relation == table; });
    if (in_flight || truncation->last_seq() > through_seq) {
      ++at;
      continue;
    }
    running_.insert(relation);
    taken.push_back(truncation);
    at = waiting_.erase(at);
  }
  return taken;
}

void Truncations::Done(uint32_t relation) {
  running_.erase(relation);
  if (!waiting_.contains(relation)) held_.erase(relation);
}

}  // namespace apex::saga
