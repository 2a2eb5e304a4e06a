#include <algorithm>
#include <utility>

#include "saga/engine.h"
#include "saga/saga_id.h"

namespace apex::saga {
namespace {

FailureRecord Describe(const Group& group, std::string_view system_identifier) {
  FailureRecord record;
  const Saga& last = *group.sagas.back();
  record.id = SagaId(system_identifier, last);
  record.aggregate = last.aggregate;
  record.traceparent = last.changes.back()->traceparent;
  for (const SagaPtr& saga : group.sagas) {
    if (std::find(record.xids.begin(), record.xids.end(), saga->xid) == record.xids.end()) {
      record.xids.push_back(saga->xid);
    }
    for (const ChangePtr& change : saga->changes) record.events.push_back(change->seq);
  }
  for (const RowWrite& row : group.rows) {
    int64_t first_seq = row.seq;
    for (const ChangePtr& change : row.changes) first_seq = std::min(first_seq, change->seq);
    // A refresh does not know what was before it, but what follows it does.
    const auto oldest =
        std::find_if(row.changes.begin(), row.changes.end(),
                     [](const ChangePtr& change) { return change->op != Operation::kRefresh; });
    record.rows.push_back(
        {.row = row.newest->row,
         .mapping = row.newest->mapping->id,
         .failed_seq = row.seq,
         .first_seq = first_seq,
         .oldest_seq = oldest == row.changes.end() ? row.changes.front()->seq : (*oldest)->seq});
  }
  return record;
}

}  // namespace

/// `group` is at fault; `batch` is what it was sent with, null when it never was. Its keys stay
/// busy until it is settled.
void Engine::Fail(Group group, const Batch* batch, std::string failed_step, std::string error_type,
                  const StoreError& error) {
  Failure failure;
  failure.id = next_id_++;
  failure.record = Describe(group, system_identifier_);
  for (FailureRecord::Row& row : failure.record.rows)
    row.carried_forward = TakeCarriedForward(row.row);
  failure.record.steps = StepsToUndo(group, batch);
  failure.record.failed_step = std::move(failed_step);
  failure.record.error_type = std::move(error_type);
  failure.record.native_code = error.native_code;
  failure.record.error = error.message;
  failure.to_undo = failure.record.steps;
  failure.group = std::move(group);
  actions_.emplace_back(RecordFailure{failure.id, failure.record});
  failures_.emplace(failure.id, std::move(failure));
}

/// The stores that were sent the group. All it needs, when an earlier leader may have sent it or
/// when a row was parked before: a store that could not be put back then still holds what is to be
/// undone now.
std::vector<Store> Engine::StepsToUndo(const Group& group, const Batch* batch) const {
  const bool anywhere = group.Replayed() ||
                        std::any_of(group.rows.begin(), group.rows.end(), [&](const RowWrite& row) {
                          return parked_.contains(row.newest->row);
                        });
  std::vector<Store> steps;
  for (Store store : {Store::kNeo4j, Store::kQdrant, Store::kRedis}) {
    if (!options_.targets.contains(store) || !group.Needs(store)) continue;
    if (anywhere || (batch && batch->steps[static_cast<size_t>(store)].touched))
      steps.push_back(store);
  }
  return steps;
}

/// Whether every store has accepted a later change of a row that PostgreSQL still calls parked. It
/// is parked anew now.
bool Engine::TakeCarriedForward(const RowId& row) {
  const auto names = [&](const RowVersion& each) { return each.row == row; };
  const size_t waiting = std::erase_if(superseded_, names);
  const size_t on_the_way = checkpointing_ ? std::erase_if(checkpoint_.superseded, names) : 0;
  if (waiting + on_the_way > 0) return true;
  // The truncation of its table has done so, unless the row has been parked since.
  const auto truncates = [&](const RowVersion& each) {
    return each.row.IsTable() && each.row.relation == row.relation;
  };
  return !parked_.contains(row) &&
         (std::ranges::any_of(superseded_, truncates) ||
          (checkpointing_ && std::ranges::any_of(checkpoint_.superseded, truncates)));
}

void Engine::On(FailureRecorded event) {
  auto at = failures_.find(event.failure);
  if (at == failures_.end()) return;
  if (!event.rows.ok()) return StopFor(event.rows.error());
  Failure& failure = at->second;
  failure.recorded = true;
  failure.rows = std::make_shared<const std::vector<RowUndo>>(std::move(*event.rows));
}

void Engine::AdvanceFailure(Failure& failure) {
  if (!failure.recorded || failure.undo_running || failure.settling) return;
  // A store that is no longer configured cannot be put back.
  while (!failure.to_undo.empty() && !options_.targets.contains(failure.to_undo.back())) {
    failure.outcome = FailureState::kCompensationFailed;
    actions_.emplace_back(StepCompensated{failure.to_undo.back(), false});
    failure.to_undo.pop_back();
  }
  if (failure.to_undo.empty()) {
    failure.settling = true;
    actions_.emplace_back(SettleFailure{failure.id, failure.record.id, failure.outcome});
    return;
  }
  const Store store = failure.to_undo.back();
  if (!Sendable(store)) return;
  failure.undo_running = true;
  breaker(store).Sent();
  actions_.emplace_back(Undo{failure.id, store, failure.rows});
}

void Engine::On(const UndoFinished& event) {
  auto at = failures_.find(event.failure);
  if (at == failures_.end()) return;
  Failure& failure = at->second;
  failure.undo_running = false;
  if (!event.status.ok()) {
    const StoreError& error = event.status.error();
    if (error.native_code == kFenced) return StopFor(error);
    if (error.kind != ErrorKind::kPermanent) return StoreFailed(event.store, error);
    failure.outcome = FailureState::kCompensationFailed;
  }
  StoreAnswered(event.store);
  actions_.emplace_back(StepCompensated{event.store, event.status.ok()});
  failure.to_undo.pop_back();
}

void Engine::On(const FailureSettled& event) {
  if (!failures_.contains(event.failure)) return;
  if (!event.status.ok()) return StopFor(event.status.error());
  FinishFailure(event.failure);
}

void Engine::FinishFailure(uint64_t id) {
  auto node = failures_.extract(id);
  Failure& failure = node.mapped();
  for (const RowUndo& row : *failure.rows) parked_[row.row] = row.failed_seq;
  Release(failure.group);
  actions_.emplace_back(
      SagasFailed{std::max<int64_t>(1, static_cast<int64_t>(failure.group.sagas.size())),
                  std::move(failure.record), failure.outcome});
}

}  // namespace apex::saga
