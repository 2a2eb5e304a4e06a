#include "pg/unmapped_update.h"

#include <algorithm>

#include "pg/guard.h"
#include "pg/mapping.h"

extern "C" {
#include "access/sysattr.h"
#include "catalog/pg_trigger.h"
#include "executor/execdesc.h"
#include "executor/executor.h"
#include "nodes/bitmapset.h"
#include "utils/reltrigger.h"
}

namespace apex::pg {
namespace {

ExecutorStart_hook_type previous_start = nullptr;

bool FiresAfterUpdate(const Trigger& trigger) {
  return TRIGGER_TYPE_MATCHES(trigger.tgtype, TRIGGER_TYPE_ROW, TRIGGER_TYPE_AFTER,
                              TRIGGER_TYPE_UPDATE);
}

bool HasCaptureOfUpdates(const TriggerDesc& triggers) {
  if (!triggers.trig_update_after_row) return false;
  const Oid capture = CaptureFunction();
  if (!OidIsValid(capture)) return false;
  return std::any_of(triggers.triggers, triggers.triggers + triggers.numtriggers,
                     [capture](const Trigger& trigger) { return trigger.tgfoid == capture; });
}

// A column with a problem is somebody's to look at whatever the statement sets.
bool Sets(const Bitmapset* columns, const PlanColumn& column) {
  return column.problem != nullptr ||
         bms_is_member(column.attribute - FirstLowInvalidHeapAttributeNumber, columns);
}

bool SetsAny(const Bitmapset* columns, const PlanColumn* mapped, int count) {
  return std::any_of(mapped, mapped + count,
                     [columns](const PlanColumn& column) { return Sets(columns, column); });
}

bool MayChangeMapped(const CapturePlan& plan, const Bitmapset* columns) {
  if (SetsAny(columns, plan.key, plan.key_count)) return true;
  if (SetsAny(columns, plan.columns, plan.column_count)) return true;
  if (plan.aggregate.name != nullptr && Sets(columns, plan.aggregate)) return true;
  return plan.embedding.name != nullptr && Sets(columns, plan.embedding);
}

// The statement's copy of the triggers. Where no other trigger wants to know, the old version of
// the row is not even fetched.
void LeaveOutCapture(TriggerDesc* triggers) {
  const Oid capture = CaptureFunction();
  bool others = false;
  for (int i = 0; i < triggers->numtriggers; i++) {
    Trigger* trigger = &triggers->triggers[i];
    if (trigger->tgfoid == capture) trigger->tgtype &= static_cast<int16>(~TRIGGER_TYPE_UPDATE);
    others |= FiresAfterUpdate(*trigger);
  }
  triggers->trig_update_after_row = others;
}

// The columns that are set include the generated ones that depend on them. What a BEFORE trigger
// changes is known to nobody before it has run.
void LookAt(ResultRelInfo* target, EState* state) {
  TriggerDesc* triggers = target->ri_TrigDesc;
  if (triggers == nullptr || triggers->trig_update_before_row) return;
  if (!HasCaptureOfUpdates(*triggers)) return;
  const CapturePlan& plan = *FindPlan(target->ri_RelationDesc);
  if (!plan.attached() || MayChangeMapped(plan, ExecGetAllUpdatedCols(target, state))) return;
  LeaveOutCapture(triggers);
}

// Only what the statement itself updates: asking for the columns prepares a table for updates, and
// its WITH may insert into another. Another extension may carry out an UPDATE in a way of its own.
void LookAtTargets(const QueryDesc* query, int flags) {
  if (query->operation != CMD_UPDATE || (flags & EXEC_FLAG_EXPLAIN_ONLY) != 0) return;
  if (!IsA(query->planstate, ModifyTableState)) return;
  const auto* update = reinterpret_cast<const ModifyTableState*>(query->planstate);
  for (int i = 0; i < update->mt_nrels; i++) LookAt(&update->resultRelInfo[i], query->estate);
}

extern "C" void StartExecutor(QueryDesc* query, int flags) {
  if (previous_start != nullptr) {
    previous_start(query, flags);
  } else {
    standard_ExecutorStart(query, flags);
  }
  Guard([=] { LookAtTargets(query, flags); });
}

}  // namespace

void InitializeUnmappedUpdate() {
  previous_start = ExecutorStart_hook;
  ExecutorStart_hook = StartExecutor;
}

}  // namespace apex::pg
