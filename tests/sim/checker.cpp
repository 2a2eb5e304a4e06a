// What must be true of a simulation, while it runs and when it has come to rest.
#include <algorithm>

#include "simulation.h"

namespace apex::sim {

bool Simulation::Quiet() const {
  const bool compensating = std::any_of(
      postgres_.sagas().begin(), postgres_.sagas().end(),
      [](const auto& saga) { return saga.second.state == SimPostgres::SagaState::kCompensating; });
  const bool nobody_else =
      std::all_of(replicas_.begin(), replicas_.end() - 1,
                  [](const std::unique_ptr<Replica>& replica) { return replica->gone(); });
  const Replica& leader = *replicas_.back();
  return !writing_ && scheduler_.now() >= Time{kStormMs} && nobody_else && !leader.gone() &&
         !leader.paused() && leader.sure() && leader.at_rest() &&
         postgres_.everything_delivered() && !compensating;
}

void Simulation::CheckStores() {
  for (const auto& [row, truth] : postgres_.truth()) {
    if (!truth.mapping) continue;
    auto parked = postgres_.saga_rows().find(row);
    if (parked != postgres_.saga_rows().end()) {
      const SimPostgres::Saga& saga = postgres_.sagas().at(parked->second.saga);
      if (parked->second.failed_seq != truth.seq || !saga.events.contains(truth.seq)) {
        violations_.Add("G1: row " + Text(row) + " is parked at " +
                        std::to_string(parked->second.failed_seq) + " and its last change is " +
                        std::to_string(truth.seq));
      }
    }
    for (Store store : kTargets) {
      if (Names(*truth.mapping, store)) CheckRow(store, row, truth);
    }
  }
}

/// A store holds the row as PostgreSQL does; of a parked one, the image that was accepted. A parked
/// row's entry may be missing from the cache, where one is filled by whoever misses it; a stale one
/// may not be there.
void Simulation::CheckRow(Store store, const RowId& row, const SimPostgres::Truth& truth) {
  auto parked = postgres_.saga_rows().find(row);
  const bool is_parked = parked != postgres_.saga_rows().end();
  if (is_parked &&
      (parked->second.left_alone() || postgres_.sagas().at(parked->second.saga).state ==
                                          SimPostgres::SagaState::kCompensationFailed))
    return;
  const std::optional<std::string> expected =
      HeldBy(store, is_parked ? parked->second.accepted : truth.image);
  const SimStore::Held* held = targets_.at(store).store->Find(row);
  const bool missing_entry = store == Store::kRedis && !held && is_parked;
  const std::optional<std::string> found = held ? std::optional(held->image) : std::nullopt;
  if (found != expected && !missing_entry) {
    violations_.Add(std::string(is_parked ? "G3: parked row " : "G1: row ") + Text(row) + " is " +
                    Text(found) + " in " + std::string(Name(store)) + " and should be " +
                    Text(expected));
  }
  if (held && !is_parked && held->version != truth.seq) {
    violations_.Add("G2: row " + Text(row) + " is at version " + std::to_string(held->version) +
                    " in " + std::string(Name(store)) + " and should be at " +
                    std::to_string(truth.seq));
  }
}

}  // namespace apex::sim
