#include "postgres.h"

#include <algorithm>

namespace apex::sim {
namespace {

constexpr uint32_t kDocuments = 1;
constexpr uint32_t kChunks = 2;  ///< Of a document: one aggregate with it.
constexpr uint32_t kEntities = 3;
constexpr uint32_t kNotes = 4;
constexpr int64_t kOpenTransactionsMax = 4;

MappingPtr Mapping(uint32_t relation, const std::set<Store>& stores) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->id = static_cast<int32_t>(relation);
  mapping->relation = relation;
  if (stores.contains(Store::kNeo4j)) mapping->node = NodeMapping{};
  if (stores.contains(Store::kQdrant)) mapping->vector = VectorMapping{};
  if (stores.contains(Store::kRedis)) mapping->cache = CacheMapping{};
  return mapping;
}

RowId Row(uint32_t relation, int64_t key) { return {relation, "[" + std::to_string(key) + "]"}; }

}  // namespace

SimPostgres::SimPostgres(const SimOptions& options, Dice& dice, SimCounts& counts,
                         Violations& violations)
    : options_(options), dice_(dice), counts_(counts), violations_(violations) {
  mappings_[kDocuments] = Mapping(kDocuments, {Store::kNeo4j, Store::kQdrant, Store::kRedis});
  mappings_[kChunks] = Mapping(kChunks, {Store::kNeo4j, Store::kQdrant});
  mappings_[kEntities] = Mapping(kEntities, {Store::kNeo4j});
  mappings_[kNotes] = Mapping(kNotes, {Store::kQdrant, Store::kRedis});
}

void SimPostgres::WriteSomething() {
  if (open_.empty() ||
      (static_cast<int64_t>(open_.size()) < kOpenTransactionsMax && dice_.Chance(30))) {
    open_.push_back({next_xid_++, 0, {}, {}});
    ++counts_.transactions;
  }
  const auto chosen = open_.begin() + dice_.Between(0, static_cast<int64_t>(open_.size()) - 1);
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
  for (const Transaction& other : open_) {
    if (&other != &transaction && other.rows.contains(row))
      return;  // It would wait for the row's lock.
  }
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
    if (saga.state != SagaState::kCompensating) continue;
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
    if (sagas_.at(at.saga).state != SagaState::kCompensating) leadership.parked_rows.push_back(row);
  }
  return leadership;
}

bool SimPostgres::OpenBatch() {
  if (batch_open_) return true;
  if (pending_.empty()) return false;
  batch_ = std::exchange(pending_, {});
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
    SagaRow written{record.id,      row.failed_seq,  row.first_seq - 1,
                    oldest->before, oldest->mapping, {}};
    auto parked = saga_rows_.find(row.row);
    if (parked != saga_rows_.end()) {
      if (!row.carried_forward || options_.flaw == Flaw::kParkedImageAlwaysHandedOn) {
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

void SimPostgres::SettleFailure(const std::string& saga, FailureState state) {
  const bool failed = state == FailureState::kCompensationFailed;
  if (failed) ++counts_.compensation_failed;
  sagas_.at(saga).state = failed ? SagaState::kCompensationFailed : SagaState::kParked;
}

void SimPostgres::Checkpoint(const CheckpointRequest& request) {
  settled_ = std::max(settled_, request.settled_seq);
  for (const RowVersion& superseded : request.superseded) {
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
