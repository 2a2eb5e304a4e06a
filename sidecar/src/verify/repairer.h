// Mends what the verifier has found.
//
// Rows that PostgreSQL has are sent again, as they are now, on the usual way: the leader orders
// them with everything else. What a store alone has is deleted there, and only while it still holds
// the version that was seen. So nothing that is written meanwhile is lost, whoever comes first.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/change.h"
#include "core/target_store.h"
#include "verify/row_source.h"
#include "verify/verifier.h"

namespace apex::verify {

/// What mending a table's differences takes.
struct RepairPlan {
  std::vector<std::string> refreshes;              ///< Keys.
  std::map<Store, std::vector<RowUndo>> removals;  ///< Compare-and-delete, each of one version.
  std::vector<std::string> not_mended;             ///< With the reason.
};

/// Pure. `report` names at least one difference.
RepairPlan PlanRepair(const TableReport& report);

class Repairer {
 public:
  Repairer(RowSource& rows, std::map<Store, TargetStore*> targets, Fence fence)
      : rows_(rows), targets_(std::move(targets)), fence_(std::move(fence)) {}

  /// Success: everything of the plan was sent, and the removals are done. Verify afterwards.
  Status Carry(const MappingPtr& mapping, const RepairPlan& plan);

 private:
  Status Remove(const MappingPtr& mapping, Store store, const std::vector<RowUndo>& removals,
                const std::set<std::string>& refreshed);

  RowSource& rows_;
  std::map<Store, TargetStore*> targets_;
  Fence fence_;
};

}  // namespace apex::verify
