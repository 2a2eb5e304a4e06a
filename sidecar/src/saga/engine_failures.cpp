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
    record.rows.push_back({row.newest->row, row.newest->mapping->id, row.seq, first_seq, row.changes.front()->seq});
  }
  return record;
}

}  // namespace

/// The single group of `batch` is at fault. Its keys stay busy until it is settled.
void Engine::Fail(const BatchPtr& batch, std::string failed_step, std::string error_type, const StoreError& error) {
  Failure failure;
  failure.id = next_id_++;
  failure.group = std::move(batch->groups.front());
  failure.record = Describe(failure.group, system_identifier_);
  for (Store store : {Store::kNeo4j, Store::kQdrant, Store::kRedis}) {
    if (batch->step(store).touched && failure.group.Needs(store)) failure.record.steps.push_back(store);
  }
  failure.record.failed_step = std::move(failed_step);
  failure.record.error_type = std::move(error_type);
  failure.record.native_code = error.native_code;
  failure.record.error = error.message;
  failure.to_undo = failure.record.steps;
  actions_.emplace_back(RecordFailure{failure.id, failure.record});
  failures_.emplace(failure.id, std::move(failure));
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

void Engine::On(UndoFinished event) {
  auto at = failures_.find(event.failure);
  if (at == failures_.end()) return;
  Failure& failure = at->second;
  failure.undo_running = false;
  if (!event.status.ok()) {
    const StoreError& error = event.status.error();
    if (error.native_code == kFenced) return StopFor(error);
    if (error.kind != ErrorKind::kPermanent) return StoreFailed(error);
    failure.outcome = FailureState::kCompensationFailed;
  }
  StoreAnswered(event.store);
  actions_.emplace_back(StepCompensated{event.store, event.status.ok()});
  failure.to_undo.pop_back();
}

void Engine::On(FailureSettled event) {
  if (!failures_.contains(event.failure)) return;
  if (!event.status.ok()) return StopFor(event.status.error());
  FinishFailure(event.failure);
}

void Engine::FinishFailure(uint64_t id) {
  auto node = failures_.extract(id);
  Failure& failure = node.mapped();
  for (const RowUndo& row : *failure.rows) parked_.insert(row.row);
  Release(failure.group);
  actions_.emplace_back(SagasFailed{std::max<int64_t>(1, static_cast<int64_t>(failure.group.sagas.size())),
                                    std::move(failure.record), failure.outcome});
}

}  // namespace apex::saga
