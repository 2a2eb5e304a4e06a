#include <algorithm>
#include <utility>

#include "saga/engine.h"

namespace apex::saga {
namespace {

// Graph and vectors side by side, then the cache, whose queries may hold results of both.
constexpr std::array<Store, 2> kFirstStage = {Store::kNeo4j, Store::kQdrant};
constexpr std::array<Store, 1> kSecondStage = {Store::kRedis};

constexpr std::string_view kGaveUp = "gave_up";

std::string ErrorType(const StoreError& error) {
  return error.native_code == kUnencodable ? "unencodable" : "refused";
}

}  // namespace

void Engine::AddBatch(std::vector<Group> groups, const Batch* parent) {
  auto batch = std::make_shared<Batch>();
  batch->id = next_id_++;
  batch->groups = std::move(groups);
  batch->truncates = batch->groups.front().Truncates();
  if (parent) batch->split = parent->split;
  for (Store store : options_.targets) {
    StepRecord& step = batch->step(store);
    const bool needed = std::any_of(batch->groups.begin(), batch->groups.end(),
                                    [&](const Group& group) { return group.Needs(store); });
    if (!needed) continue;
    step.state = StepState::kIdle;
    if (parent) {
      const StepRecord& before = parent->steps[static_cast<size_t>(store)];
      if (before.state == StepState::kDone) step.state = StepState::kDone;
      step.touched = before.touched;
    }
  }
  batches_.emplace(batch->id, batch);
  Advance(batch);
}

void Engine::Advance(const BatchPtr& batch) {
  if (CutIfUnanswered(batch)) return;
  if (AdvanceStage(batch, kFirstStage) && AdvanceStage(batch, kSecondStage)) Settle(batch);
}

/// True when every step of the stage is done.
bool Engine::AdvanceStage(const BatchPtr& batch, std::span<const Store> stage) {
  bool waiting = false;
  std::optional<Store> refused;
  std::optional<Store> gave_up;
  for (Store store : stage) {
    StepRecord& step = batch->step(store);
    if (step.state == StepState::kIdle && !batch->to_be_cut() && Sendable(store) &&
        !EvictionIsBefore(*batch, store)) {
      step.state = StepState::kRunning;
      step.touched = true;
      breaker(store).Sent();
      RowWrites rows = RowsFor(*batch, store);
      step.rows = static_cast<int64_t>(rows->size());
      actions_.emplace_back(Write{batch->id, store, std::move(rows)});
    }
    waiting = waiting || step.state == StepState::kIdle || step.state == StepState::kRunning;
    if (step.state == StepState::kFailed) (step.gave_up ? gave_up : refused) = store;
    const bool passed = step.state == StepState::kDone || step.state == StepState::kNotNeeded;
    if (passed && batch->split && batch->split->store == store) {
      PartAnswered(std::exchange(batch->split, nullptr));
    }
  }
  if (waiting) return false;
  if (gave_up) {
    GiveUp(batch, *gave_up);
  } else if (refused) {
    Isolate(batch, batch->split ? batch->split->store : *refused);
  }
  return !gave_up && !refused;
}

/// A store that could not write a batch in time is asked for less at once: sent again as it is, it
/// might never be done.
bool Engine::CutIfUnanswered(const BatchPtr& batch) {
  const bool running = std::ranges::any_of(
      batch->steps, [](const StepRecord& step) { return step.state == StepState::kRunning; });
  if (!batch->to_be_cut() || running) return false;
  batches_.erase(batch->id);
  if (batch->split) ++batch->split->outstanding;
  AddHalves(batch);
  return true;
}

void Engine::AddHalves(const BatchPtr& batch) {
  const auto middle = batch->groups.begin() + static_cast<std::ptrdiff_t>(batch->groups.size() / 2);
  std::vector<Group> upper(std::make_move_iterator(middle),
                           std::make_move_iterator(batch->groups.end()));
  batch->groups.erase(middle, batch->groups.end());
  AddBatch(std::move(batch->groups), batch.get());
  AddBatch(std::move(upper), batch.get());
}

/// Stores that all groups need share one copy.
RowWrites Engine::RowsFor(Batch& batch, Store store) {
  const auto needs = [store](const Group& group) { return group.Needs(store); };
  const bool whole = std::ranges::all_of(batch.groups, needs);
  if (whole && batch.rows) return batch.rows;
  auto rows = std::make_shared<std::vector<RowWrite>>();
  rows->reserve(batch.groups.size());
  for (const Group& group : batch.groups) {
    if (whole || needs(group)) rows->insert(rows->end(), group.rows.begin(), group.rows.end());
  }
  if (whole) batch.rows = rows;
  return rows;
}

/// An eviction that is repeated must not take away the entry that the write has made.
bool Engine::EvictionIsBefore(const Batch& batch, Store store) const {
  return store == Store::kRedis && !evictions_.empty() && evictions_.begin()->first < batch.id;
}

void Engine::On(const WriteFinished& event) {
  auto at = batches_.find(event.batch);
  if (at == batches_.end()) return;
  const BatchPtr batch = at->second;
  StepRecord& step = batch->step(event.store);
  if (event.status.ok()) {
    step.state = StepState::kDone;
    StoreAnswered(event.store);
    sizer(event.store).Written(step.rows, event.took);
    return;
  }
  const StoreError& error = event.status.error();
  if (error.native_code == kFenced) return StopFor(error);
  if (error.kind == ErrorKind::kUnknownOutcome && !batch->truncates) {
    sizer(event.store).TimedOut();
    batch->unanswered = true;
  }
  if (error.kind == ErrorKind::kPermanent && !batch->truncates) {
    step.state = StepState::kFailed;
    step.error = error;
    StoreAnswered(event.store);
    return;
  }
  StoreFailed(event.store, error);
  step.gave_up = GaveUp(event.store) && !batch->truncates;
  step.state = step.gave_up ? StepState::kFailed : StepState::kIdle;
  step.error = error;
}

/// `store` refused the batch: one group stands at the end of the search, more are halved.
void Engine::Isolate(const BatchPtr& batch, Store store) {
  batches_.erase(batch->id);
  if (!batch->split) {
    batch->split = std::make_shared<Split>();
    batch->split->store = store;
    batch->split->outstanding = 1;
  }
  const std::shared_ptr<Split> split = batch->split;
  if (batch->groups.size() == 1) {
    batch->split = nullptr;  // Until it is sent again: the two would keep each other alive.
    split->refused.push_back(batch);
    return PartAnswered(split);
  }
  ++split->outstanding;
  AddHalves(batch);
}

/// Once every part has been answered, what stands alone is at fault, if the store is not.
void Engine::PartAnswered(const std::shared_ptr<Split>& split) {
  if (--split->outstanding > 0 || split->refused.empty()) return;
  probing_[split->store].waiting.push_back(split);
  SendProbes();
}

void Engine::SendProbes() {
  for (auto& [store, probing] : probing_) {
    if (probing.waiting.empty() || !probing.asked.empty() || !Sendable(store)) continue;
    probing.asked = std::exchange(probing.waiting, {});
    breaker(store).Sent();
    actions_.emplace_back(Probe{store});
  }
}

void Engine::On(const ProbeFinished& event) {
  Probing& probing = probing_[event.store];
  const std::vector<std::shared_ptr<Split>> asked = std::exchange(probing.asked, {});
  if (event.status.ok()) {
    StoreAnswered(event.store);
    for (const std::shared_ptr<Split>& split : asked)
      split->proven ? Blame(split, false) : SendAgain(split);
    return;
  }
  const StoreError& error = event.status.error();
  if (error.native_code == kFenced) return StopFor(error);
  // It is the store: hold, park nothing, and ask again.
  StoreFailed(event.store, error);
  const bool gave_up = GaveUp(event.store);
  for (const std::shared_ptr<Split>& split : asked) {
    if (gave_up) {
      Blame(split, true);
    } else {
      split->proven = false;
      probing.waiting.push_back(split);
    }
  }
}

/// The store takes writes. The refusals may be from before it did.
void Engine::SendAgain(const std::shared_ptr<Split>& split) {
  split->proven = true;
  for (const BatchPtr& batch : std::exchange(split->refused, {})) {
    ++split->outstanding;
    batch->split = split;
    batch->step(split->store).state = StepState::kIdle;
    batches_.emplace(batch->id, batch);
  }
}

void Engine::Blame(const std::shared_ptr<Split>& split, bool gave_up) {
  for (const BatchPtr& batch : std::exchange(split->refused, {})) {
    const StoreError error = *batch->step(split->store).error;
    Fail(std::move(batch->groups.front()), batch.get(), std::string(StepName(split->store)),
         gave_up ? std::string(kGaveUp) : ErrorType(error), error);
  }
}

/// Only the groups that need the store are given up; the others go on without them.
void Engine::GiveUp(const BatchPtr& batch, Store store) {
  batches_.erase(batch->id);
  const StoreError error = *batch->step(store).error;
  std::vector<Group> others;
  for (Group& group : batch->groups) {
    if (group.Needs(store)) {
      Fail(std::move(group), batch.get(), std::string(StepName(store)), std::string(kGaveUp),
           error);
    } else {
      others.push_back(std::move(group));
    }
  }
  if (!others.empty()) return AddBatch(std::move(others), batch.get());
  if (batch->split) PartAnswered(batch->split);
}

void Engine::Settle(const BatchPtr& batch) {
  batches_.erase(batch->id);
  ahead_asked_ = false;
  // What is behind it will soon be read.
  if (peek_at_ && batch->step(Store::kRedis).state == StepState::kDone)
    peek_at_ = now_ + options_.peek_after;
  EvictOvertaken(*batch);
  for (const Group& group : batch->groups) {
    if (batch->truncates) SettleTruncation(group.rows.front());
    for (const RowWrite& row : group.rows) {
      const RowId& id = row.newest->row;
      if (parked_.erase(id) > 0) superseded_.push_back({id, row.seq});
    }
    succeeded_.sagas += static_cast<int64_t>(group.sagas.size());
    for (const SagaPtr& saga : group.sagas) {
      for (const ChangePtr& change : saga->changes)
        succeeded_.captured_at_us.push_back(change->captured_at_us);
    }
    Release(group);
  }
}

/// The entries that it has made of rows that have changed once more.
void Engine::EvictOvertaken(const Batch& batch) {
  if (waiting_.empty() && truncations_.empty() && overtaken_.empty()) return;
  std::vector<ChangePtr> changes;
  for (const Group& group : batch.groups) {
    for (const RowWrite& row : group.rows) {
      const std::optional<CacheMapping>& cache = row.newest->mapping->cache;
      if (cache && cache->mode == CacheMode::kWrite && Overtaken(row))
        changes.push_back(row.newest);
    }
  }
  EvictEntriesOf(changes);
  SendEvictions();
}

/// What is parked of the table is superseded, but for what an earlier leader has parked after it.
void Engine::SettleTruncation(const RowWrite& table) {
  const RowId& id = table.newest->row;
  const size_t parked = std::erase_if(parked_, [&](const auto& row) {
    return row.first.relation == id.relation && row.second < table.seq;
  });
  if (parked > 0) superseded_.push_back({id, table.seq});
  truncations_.Done(id.relation);
  const auto overtaken = overtaken_.find(id);
  if (overtaken != overtaken_.end() && overtaken->second <= table.seq) overtaken_.erase(overtaken);
}

bool Engine::GaveUp(Store store) const {
  const std::optional<Time> since = breaker(store).failing_since();
  return options_.give_up_after > Time{0} && since && now_ - *since >= options_.give_up_after;
}

}  // namespace apex::saga
