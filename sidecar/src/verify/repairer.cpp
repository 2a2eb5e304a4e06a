#include "verify/repairer.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

namespace apex::verify {
namespace {

/// Rows of one call, to PostgreSQL or to a store.
constexpr size_t kRowsMax = 500;
constexpr std::chrono::milliseconds kTimeout{30000};

/// Calls `act` with pieces of `list`.
template <typename T, typename Act>
Status InPieces(const std::vector<T>& list, Act act) {
  for (size_t begin = 0; begin < list.size(); begin += kRowsMax) {
    const size_t count = std::min(kRowsMax, list.size() - begin);
    if (Status status = act(std::span(list).subspan(begin, count)); !status.ok()) return status;
  }
  return {};
}

RowUndo Removal(const MappingPtr& mapping, const StoredRow& held) {
  RowUndo removal;
  removal.mapping = mapping;
  removal.row = {mapping->relation, *held.key};
  removal.failed_seq = *held.version;
  removal.accepted_seq = *held.version - 1;
  if (!held.image.empty()) removal.images.push_back(held.image);
  return removal;
}

void Plan(const MappingPtr& mapping, Store store, const Difference& difference,
          std::set<std::string>& refreshes, RepairPlan& plan) {
  const StoredRow& held = difference.held;
  if (!held.key) {
    plan.not_mended.push_back(held.name + " of " + std::string(Name(store)) +
                              " does not tell which row it is of: delete it there");
    return;
  }
  // A higher version than is given out would be kept, and copies of one row be written alike.
  const bool has_to_go =
      difference.kind == Kind::kExtra || difference.is_ahead || !difference.copies.empty();
  if (has_to_go && difference.kind != Kind::kMissing) {
    std::set<int64_t> versions;
    std::vector<StoredRow> copies = difference.copies;
    if (copies.empty()) copies.push_back(held);
    for (StoredRow& copy : copies) {
      if (!copy.version || !versions.insert(*copy.version).second) continue;
      copy.key = held.key;
      plan.removals[store].push_back(Removal(mapping, copy));
    }
  }
  // What has no version is deleted by the delete of its row.
  if (difference.kind != Kind::kExtra || !held.version) refreshes.insert(*held.key);
}

}  // namespace

RepairPlan PlanRepair(const TableReport& report) {
  RepairPlan plan;
  std::set<std::string> refreshes;
  for (const StoreReport& store : report.stores) {
    for (const Difference& difference : store.differences)
      Plan(report.mapping, store.store, difference, refreshes, plan);
  }
  plan.refreshes.assign(refreshes.begin(), refreshes.end());
  return plan;
}

Status Repairer::Carry(const MappingPtr& mapping, const RepairPlan& plan) {
  const std::set<std::string> refreshed(plan.refreshes.begin(), plan.refreshes.end());
  for (const auto& [store, removals] : plan.removals) {
    if (Status status = Remove(mapping, store, removals, refreshed); !status.ok()) return status;
  }
  return InPieces(plan.refreshes, [&](std::span<const std::string> keys) {
    return rows_.Refresh(mapping, {keys.begin(), keys.end()});
  });
}

Status Repairer::Remove(const MappingPtr& mapping, Store store,
                        const std::vector<RowUndo>& removals,
                        const std::set<std::string>& refreshed) {
  return InPieces(removals, [&](std::span<const RowUndo> piece) -> Status {
    std::vector<std::string> keys;
    for (const RowUndo& removal : piece) keys.push_back(removal.row.key);
    auto there = rows_.ReadThese(mapping, keys);
    if (!there.ok()) return there.error();
    std::set<std::string> back;
    for (const TableRow& row : *there) back.insert(row.row->row.key);
    std::vector<RowUndo> gone;
    for (const RowUndo& removal : piece) {
      // A row that has come back meanwhile brings its own version; one that is refreshed behind
      // this is written anew.
      if (!back.contains(removal.row.key) || refreshed.contains(removal.row.key))
        gone.push_back(removal);
    }
    if (gone.empty()) return {};
    return targets_.at(store)->Undo(fence_, gone, Deadline::After(kTimeout));
  });
}

}  // namespace apex::verify
