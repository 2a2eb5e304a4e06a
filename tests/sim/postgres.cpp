#include "postgres.h"

#include <algorithm>

namespace apex::sim {
namespace {

constexpr uint32_t kDocuments = 1;
constexpr uint32_t kChunks = 2;  ///< Of a document: one aggregate with it.
constexpr uint32_t kEntities = 3;
constexpr uint32_t kNotes = 4;
constexpr int64_t kOpenTransactionsMax = 4;

MappingPtr Mapping(uint32_t relation, const std::set<Store>& stores, bool revert) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->id = static_cast<int32_t>(relation);
  mapping->relation = relation;
  if (stores.contains(Store::kNeo4j)) mapping->node = NodeMapping{};
  if (stores.contains(Store::kQdrant)) mapping->vector = VectorMapping{};
  if (stores.contains(Store::kRedis)) mapping->cache = CacheMapping{};
  if (revert) mapping->on_failure = "revert";
  return mapping;
}

RowId Row(uint32_t relation, int64_t key) { return {relation, "[" + std::to_string(key) + "]"}; }

}  // namespace

SimPostgres::SimPostgres(const SimOptions& options, Dice& dice, SimCounts& counts,
                         Violations& violations)
    : options_(options), dice_(dice), counts_(counts), violations_(violations) {
  const bool revert = dice_.Chance(30);
  mappings_[kDocuments] =
      Mapping(kDocuments, {Store::kNeo4j, Store::kQdrant, Store::kRedis}, revert);
  mappings_[kChunks] = Mapping(kChunks, {Store::kNeo4j, Store::kQdrant}, revert);
  mappings_[kEntities] = Mapping(kEntities, {Store::kNeo4j}, dice_.Chance(30));
  mappings_[kNotes] = Mapping(kNotes, {Store::kQdrant, Store::kRedis}, false);
}

void SimPostgres::WriteSomething() {
  if (dice_.Chance(4)) RefreshSomething();
  if (open_.empty() ||
      (static_cast<int64_t>(open_.size()) < kOpenTransactionsMax && dice_.Chance(30))) {
    open_.push_back({next_xid_++, 0, {}, {}, {}});
    ++counts_.transactions;
  }
  const auto chosen = open_.begin() + dice_.Between(0, static_cast<int64_t>(open_.size()) - 1);
  if (dice_.Chance(2)) return TruncateSomething(*chosen);
  if (dice_.Chance(60)) return WriteRow(*chosen);
  if (dice_.Chance(85)) Commit(*chosen);
  open_.erase(chosen);
}

void SimPostgres::CommitEverything() {
  for (Transaction& transaction : open_) Commit(transaction);
  open_.clear();
}

void SimPostgres::WriteRow(Transaction& transaction) {
  const auto relation = static_cast<uint32_t>(dice_.Between(kDocuments, kNotes));
  const RowId row = Row(relation, dice_.Between(0, relation == kChunks ? 7 : 3));
  if (IsLocked(row, &transaction)) return;  // It would wait.
  auto [mine, fresh] = transaction.rows.try_emplace(row, truth_[row]);
  Truth& now = mine->second;
  now.mapping = mappings_.at(relation);
  const Truth before = now;
  ++transaction.command;
  if (now.image && dice_.Chance(10)) {
    // A trigger that updates its own row: the later image is captured first, under the later
    // command.
    const Truth first = NewImage(before);
    const Truth second = NewImage(first);
    const int64_t seq = next_seq_;
    next_seq_ += 2;
    ++transaction.command;
    transaction.changes.push_back(Capture(transaction, row, seq, first, second));
    --transaction.command;
    transaction.changes.push_back(Capture(transaction, row, seq + 1, before, first));
    ++transaction.command;
    now = second;
    now.seq = seq + 1;
    return;
  }
  if (now.image && dice_.Chance(25)) {
    now.image.reset();
    now.encodable = true;
  } else {
    now = NewImage(before);
  }
  now.seq = next_seq_++;
  transaction.changes.push_back(Capture(transaction, row, now.seq, before, now));
}

bool SimPostgres::IsLocked(const RowId& row, const Transaction* by_other_than) const {
  return std::any_of(open_.begin(), open_.end(), [&](const Transaction& each) {
    return &each != by_other_than &&
           (each.rows.contains(row) || each.truncated.contains(row.relation));
  });
}

/// One event for the table, whatever it holds. It waits for whoever has written to the table.
void SimPostgres::TruncateSomething(Transaction& transaction) {
  const auto relation = static_cast<uint32_t>(dice_.Between(kDocuments, kNotes));
  const bool others_write = std::any_of(open_.begin(), open_.end(), [&](const Transaction& each) {
    return &each != &transaction &&
           (each.truncated.contains(relation) ||
            std::any_of(each.rows.begin(), each.rows.end(),
                        [&](const auto& row) { return row.first.relation == relation; }));
  });
  if (others_write) return;
  ++counts_.truncations;
  transaction.truncated.insert(relation);
  auto change = std::make_shared<Change>();
  change->seq = next_seq_++;
  change->xid = transaction.xid;
  change->command = ++transaction.command;
  change->op = Operation::kTruncate;
  change->mapping = mappings_.at(relation);
  change->row = change->aggregate = {relation, "[]"};
  change->captured_at_us = change->seq * 1000;
  transaction.changes.push_back(change);
  const Truth gone{std::nullopt, true, change->seq, mappings_.at(relation)};
  for (const auto& [row, truth] : truth_) {
    if (row.relation == relation) transaction.rows[row] = gone;
  }
  for (auto& [row, truth] : transaction.rows) {
    if (row.relation == relation) truth = gone;
  }
}

/// Some row is sent as it is now (E7): read and given its version in one transaction, under its
/// lock.
void SimPostgres::RefreshSomething() {
  if (truth_.empty()) return;
  const auto chosen =
      std::next(truth_.begin(), dice_.Between(0, static_cast<int64_t>(truth_.size()) - 1));
  const RowId& row = chosen->first;
  if (!chosen->second.mapping || IsLocked(row, nullptr)) return;
  Truth read = chosen->second;
  if (options_.flaw == Flaw::kOldImageRefreshed) {
    const auto [early, fresh] = read_too_early_.try_emplace(row, read);
    if (fresh) return;
    read = early->second;
    read_too_early_.erase(early);
  }
  ++counts_.refreshes;
  Transaction transaction{next_xid_++, 1, {}, {}, {}};
  const int64_t seq = next_seq_++;
  ChangePtr captured = Capture(transaction, row, seq, Truth{}, read);
  auto change = std::make_shared<Change>(*captured);
  change->op = read.image ? Operation::kRefresh : Operation::kDelete;
  chosen->second.seq = seq;
  pending_.emplace(seq, std::move(change));
}

SimPostgres::Truth SimPostgres::NewImage(const Truth& before) {
  Truth after = before;
  after.image = std::to_string(next_image_++);
  after.encodable = !dice_.Chance(3);
  const Store store = kTargets[dice_.Between(0, 2)];
  if (dice_.Chance(8) && Names(*after.mapping, store))
    *after.image += std::string("!") + Letter(store);
  if (dice_.Chance(2)) *after.image += std::string("?") + Letter(store);
  if (dice_.Chance(10)) *after.image += '~';
  return after;
}

ChangePtr SimPostgres::Capture(Transaction& transaction, const RowId& row, int64_t seq,
                               const Truth& before, const Truth& after) {
  auto change = std::make_shared<Change>();
  change->seq = seq;
  change->xid = transaction.xid;
  change->command = transaction.command;
  change->op = !before.image ? Operation::kInsert
               : after.image ? Operation::kUpdate
                             : Operation::kDelete;
  change->mapping = after.mapping;
  change->row = row;
  change->aggregate = row;
  if (row.relation == kChunks) change->aggregate = Row(kDocuments, (row.key[1] - '0') % 4);
  if (before.encodable) change->before = before.image;
  if (after.encodable) {
    change->after = after.image;
  } else {
    change->capture_error = "cannot be encoded";
  }
  change->captured_at_us = seq * 1000;
  return change;
}

void SimPostgres::Commit(Transaction& transaction) {
  for (auto& [row, truth] : transaction.rows) truth_[row] = truth;
  for (const ChangePtr& change : transaction.changes) pending_.emplace(change->seq, change);
}

Leadership SimPostgres::Lead() {
  Leadership leadership;
  leadership.epoch = ++epoch_;
  leadership.system_identifier = "7001";
  for (const auto& [id, saga] : sagas_) {
    if (saga.state != SagaState::kCompensating || options_.flaw == Flaw::kNotResumed) continue;
    RecordedFailure found{
        id, saga.record.steps, saga.record.failed_step, saga.record.error_type, {}};
    for (const auto& [row, at] : saga_rows_) {
      if (at.saga == id) {
        found.rows.push_back({at.mapping, row, at.failed_seq, at.accepted_seq, at.accepted,
                              std::nullopt, at.images});
      }
    }
    leadership.compensating.push_back(std::move(found));
  }
  for (const auto& [row, at] : saga_rows_) {
    if (sagas_.at(at.saga).state != SagaState::kCompensating) {
      leadership.parked_rows.push_back({row, at.failed_seq});
    }
  }
  return leadership;
}

bool SimPostgres::OpenBatch(std::map<int64_t, ChangePtr> events) {
  if (events.empty()) return false;
  if (batch_open_) violations_.Add("a batch is opened while another one is open");
  for (const auto& [seq, change] : events) pending_.erase(seq);
  batch_ = std::move(events);
  batch_open_ = true;
  settled_ = handed_out_ = 0;
  return true;
}

std::map<int64_t, ChangePtr> SimPostgres::ReadableEvents() const {
  std::map<int64_t, ChangePtr> events;
  for (const auto& [seq, change] : batch_) {
    if (seq <= settled_) continue;
    auto at = saga_rows_.find(change->row);
    bool covered = at != saga_rows_.end() && seq <= at->second.failed_seq;
    if (options_.flaw == Flaw::kParkedEventsReadAgain) {
      covered = at != saga_rows_.end() && sagas_.at(at->second.saga).events.contains(seq);
    }
    if (!covered) events.emplace(seq, change);
  }
  return events;
}

std::vector<RowUndo> SimPostgres::RecordFailure(const FailureRecord& record) {
  ++counts_.failures_recorded;
  Saga& saga = sagas_[record.id];
  if (!saga.events.empty()) violations_.Add("saga " + record.id + " was recorded twice");
  saga.record = record;
  saga.events.insert(record.events.begin(), record.events.end());
  std::vector<RowUndo> undos;
  for (const FailureRecord::Row& row : record.rows) {
    const ChangePtr& oldest = batch_.at(row.oldest_seq);
    const bool refreshed = oldest->op == Operation::kRefresh;
    SagaRow written{record.id,
                    row.failed_seq,
                    refreshed ? row.failed_seq : row.first_seq - 1,
                    oldest->before,
                    oldest->mapping,
                    {},
                    {}};
    for (const int64_t seq : record.events) {
      const ChangePtr& change = batch_.at(seq);
      if (change->row == row.row) written.changes.push_back(change);
    }
    auto parked = saga_rows_.find(row.row);
    if (parked != saga_rows_.end()) {
      const bool hands_on =
          !row.carried_forward || options_.flaw == Flaw::kParkedImageAlwaysHandedOn;
      if (hands_on && !parked->second.left_alone()) {
        written.accepted = parked->second.accepted;
        written.accepted_seq = parked->second.accepted_seq;
      }
      Leave(row.row);
    }
    saga_rows_[row.row] = written;
    undos.push_back({written.mapping,
                     row.row,
                     written.failed_seq,
                     written.accepted_seq,
                     written.accepted,
                     std::nullopt,
                     {}});
  }
  return undos;
}

/// The row leaves its saga, and the last one takes the saga along.
void SimPostgres::Leave(const RowId& row) {
  const std::string saga = saga_rows_.at(row).saga;
  saga_rows_.erase(row);
  const bool last = std::none_of(saga_rows_.begin(), saga_rows_.end(),
                                 [&](const auto& at) { return at.second.saga == saga; });
  if (last) sagas_.erase(saga);
}

void SimPostgres::LeaveAll(const RowVersion& table) {
  if (options_.flaw == Flaw::kTruncationLeavesParked) return;
  std::vector<RowId> rows;
  for (const auto& [row, parked] : saga_rows_) {
    if (row.relation == table.row.relation && parked.failed_seq < table.seq) rows.push_back(row);
  }
  for (const RowId& row : rows) {
    ++counts_.superseded;
    Leave(row);
  }
}

void SimPostgres::SettleFailure(const std::string& saga, FailureState state) {
  const bool failed = state == FailureState::kCompensationFailed;
  if (failed) ++counts_.compensation_failed;
  sagas_.at(saga).state = failed ? SagaState::kCompensationFailed : SagaState::kParked;
  if (!failed) Revert(saga);
}

/// All rows of a saga whose tables want it are put back, or none (E8).
void SimPostgres::Revert(const std::string& saga) {
  std::vector<std::pair<RowId, SagaRow>> rows;
  for (const auto& [row, at] : saga_rows_) {
    if (at.saga == saga) rows.emplace_back(row, at);
  }
  const bool may = std::all_of(rows.begin(), rows.end(), [this](const auto& row) {
    return MayRevert(row.first, row.second);
  });
  if (!may) return;
  ++counts_.reverted;
  Transaction transaction{next_xid_++, 0, {}, {}, {}};
  for (const auto& [row, parked] : rows) {
    const Truth before = truth_.at(row);
    if (before.seq > parked.failed_seq) {
      violations_.Add("E8: a revert of row " + Text(row) + " takes back version " +
                      std::to_string(before.seq) + ", which has not failed");
    }
    if (before.image == parked.accepted) continue;
    Truth after{parked.accepted, true, next_seq_++, before.mapping};
    ++transaction.command;
    transaction.changes.push_back(Capture(transaction, row, after.seq, before, after));
    transaction.rows[row] = std::move(after);
  }
  Commit(transaction);
}

bool SimPostgres::MayRevert(const RowId& row, const SagaRow& parked) const {
  if (parked.mapping->on_failure != "revert" || IsLocked(row, nullptr)) return false;
  const auto unusable = [](const ChangePtr& change) {
    return !change->capture_error.empty() || change->op == Operation::kRefresh;
  };
  if (std::any_of(parked.changes.begin(), parked.changes.end(), unusable)) return false;
  const bool inserted =
      std::any_of(parked.changes.begin(), parked.changes.end(),
                  [](const ChangePtr& change) { return change->op == Operation::kInsert; });
  if (!parked.accepted && !inserted) return false;
  return options_.flaw == Flaw::kRevertOfAnything || truth_.at(row).seq == parked.failed_seq;
}

void SimPostgres::Checkpoint(const CheckpointRequest& request) {
  settled_ = std::max(settled_, request.settled_seq);
  for (const RowVersion& superseded : request.superseded) {
    if (options_.flaw == Flaw::kNeverSuperseded) break;
    if (superseded.row.IsTable()) {
      LeaveAll(superseded);
      continue;
    }
    auto at = saga_rows_.find(superseded.row);
    if (at == saga_rows_.end() || at->second.failed_seq >= superseded.seq) continue;
    ++counts_.superseded;
    Leave(superseded.row);
  }
  if (!request.close) return;
  batch_.clear();
  batch_open_ = false;
  settled_ = handed_out_ = 0;
}

}  // namespace apex::sim
