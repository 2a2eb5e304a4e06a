#include "saga/engine.h"

#include <algorithm>
#include <utility>

namespace apex::saga {

namespace {

int64_t BytesOf(const Change& change) {
  const auto size = [](const std::optional<std::string>& part) { return part ? part->size() : 0; };
  return static_cast<int64_t>(sizeof(Change) + change.row.key.size() + change.aggregate.key.size() +
                              size(change.before) + size(change.after) + size(change.embedding) +
                              size(change.old_embedding));
}

BatchSizer SizerFor(const EngineOptions& options) {
  return {options.batch_rows_max, options.write_target};
}

}  // namespace

Engine::Engine(EngineOptions options)
    : options_(std::move(options)),
      random_(options_.seed),
      breakers_{Breaker(options_.backoff), Breaker(options_.backoff), Breaker(options_.backoff),
                Breaker(options_.backoff)},
      sizers_{SizerFor(options_), SizerFor(options_), SizerFor(options_), SizerFor(options_)} {}

std::vector<Action> Engine::Step(Event event, Time now) {
  now_ = now;
  if (stopped_) return {};
  std::visit([this](auto&& heard) { On(std::forward<decltype(heard)>(heard)); }, std::move(event));
  Pump();
  return std::exchange(actions_, {});
}

std::optional<Time> Engine::next_tick() const {
  std::optional<Time> soonest;
  for (const Breaker& each : breakers_) {
    // A retry that is already due was sent in the last step, or there was nothing to send.
    const std::optional<Time> at = each.retry_at();
    if (at && *at > now_ && (!soonest || *at < *soonest)) soonest = at;
  }
  // One that is due waits for an answer that comes by itself.
  if (peek_at_ && *peek_at_ > now_ && (!soonest || *peek_at_ < *soonest)) soonest = peek_at_;
  return soonest;
}

bool Engine::drained() const {
  return draining_ && !reading_ && !checkpointing_ && busy_.empty() && failures_.empty() &&
         !progress_.Next();
}

void Engine::On(Led event) {
  led_ = true;
  system_identifier_ = event.leadership.system_identifier;
  for (const RowVersion& parked : event.leadership.parked_rows) parked_[parked.row] = parked.seq;
  for (RecordedFailure& found : event.leadership.compensating) {
    Failure failure;
    failure.id = next_id_++;
    failure.record.id = found.id;
    failure.record.steps = found.steps;
    failure.record.failed_step = found.failed_step;
    failure.record.error_type = found.error_type;
    failure.recorded = true;
    failure.to_undo = found.steps;
    for (const RowUndo& row : found.rows) {
      failure.group.keys.push_back(row.row);
      busy_.insert(row.row);
    }
    failure.rows = std::make_shared<const std::vector<RowUndo>>(std::move(found.rows));
    failures_.emplace(failure.id, std::move(failure));
  }
}

void Engine::On(PieceArrived event) {
  reading_ = false;
  if (!event.piece.ok()) return StopFor(event.piece.error());
  Accept(*std::move(event.piece));
}

void Engine::On(AheadArrived event) {
  reading_ = false;
  if (!event.piece.ok()) return StopFor(event.piece.error());
  if (!event.piece->changes.empty()) ahead_ = std::move(*event.piece);
}

void Engine::On(const Peeked& event) {
  reading_ = false;
  if (!event.piece.ok()) return StopFor(event.piece.error());
  peek_at_ = event.piece->batch_end ? now_ + options_.peek_interval : now_;
  if (draining_) return;
  NoteOvertaken(event.piece->changes);
  EvictEntriesOf(event.piece->changes);
}

void Engine::Accept(Piece piece) {
  peek_at_.reset();
  progress_.PieceRead(piece);
  const bool replayed = !std::exchange(window_read_, true);
  if (piece.changes.empty()) {
    if (!piece.nothing_pending()) return;
    if (listening_ == Listening::kNo) {
      listening_ = Listening::kArming;
      actions_.emplace_back(Arm{});
    } else if (listening_ == Listening::kArmed) {
      listening_ = Listening::kWaiting;
      actions_.emplace_back(AwaitChange{});
    }
    return;
  }
  listening_ = Listening::kNo;
  int64_t bytes = 0;
  for (const ChangePtr& change : piece.changes) bytes += BytesOf(*change);
  pending_bytes_ += bytes;
  bytes_per_change_ = bytes / static_cast<int64_t>(piece.changes.size());
  const std::vector<ChangePtr> changes = WithoutVoid(std::move(piece.changes));
  EvictEntriesOf(changes);
  for (SagaPtr& saga : GroupIntoSagas(changes, replayed)) Await(std::move(saga));
}

/// Rule E9: what is older than a truncation of its table is not written. It is settled at once, as
/// the truncation, which is not, stands for it.
std::vector<ChangePtr> Engine::WithoutVoid(std::vector<ChangePtr> changes) {
  std::map<uint32_t, int64_t> truncated;
  for (const ChangePtr& change : changes) {
    if (change->op == Operation::kTruncate) truncated[change->row.relation] = change->seq;
  }
  if (truncated.empty() && truncations_.empty()) return changes;
  for (const auto& [relation, seq] : truncated) {
    const WaitingSagas::Voided voided = waiting_.Void(relation, seq);
    for (const ChangePtr& change : voided.changes) SettleVoid(*change);
    active_sagas_ -= voided.sagas;
  }
  const auto gone =
      std::stable_partition(changes.begin(), changes.end(), [&](const ChangePtr& change) {
        if (change->op == Operation::kInvalidate) return true;
        const auto at = truncated.find(change->row.relation);
        const bool older = at != truncated.end() && change->seq < at->second;
        return !older && !truncations_.Voids(*change);
      });
  std::for_each(gone, changes.end(), [this](const ChangePtr& change) { SettleVoid(*change); });
  changes.erase(gone, changes.end());
  return changes;
}

void Engine::SettleVoid(const Change& change) {
  progress_.Settled(change);
  pending_bytes_ -= BytesOf(change);
}

void Engine::Await(SagaPtr saga) {
  ++active_sagas_;
  if (!saga->aggregate.IsTable()) return waiting_.Add(std::move(saga));
  const SagaPtr older = truncations_.Add(std::move(saga));
  if (!older) return;
  --active_sagas_;
  for (const ChangePtr& change : older->changes) SettleVoid(*change);
}

void Engine::On(Woken) {
  // Armed: look once more before sleeping. Woken from sleep: begin anew.
  listening_ = listening_ == Listening::kArming ? Listening::kArmed : Listening::kNo;
}

void Engine::On(const EvictFinished& event) {
  auto at = evictions_.find(event.eviction);
  if (at == evictions_.end()) return;
  if (event.status.ok() || event.status.error().kind == ErrorKind::kPermanent) {
    // A refusal comes back from write_redis, which invalidates the same entries and can name the
    // saga.
    StoreAnswered(Store::kRedis);
    evictions_.erase(at);
    return;
  }
  at->second.running = false;
  StoreFailed(Store::kRedis, event.status.error());
}

void Engine::On(const CheckpointFinished& event) {
  checkpointing_ = false;
  if (!event.status.ok()) return StopFor(event.status.error());
  progress_.Recorded(checkpoint_);
  if (checkpoint_.close) {
    ahead_asked_ = false;
    std::optional<Piece> next = std::exchange(ahead_, std::nullopt);
    if (checkpoint_.open_next) Accept(*std::move(next));
  }
  if (in_checkpoint_.sagas > 0) actions_.emplace_back(std::exchange(in_checkpoint_, {}));
}

void Engine::On(Tick) {}

void Engine::On(Drain) { draining_ = true; }

void Engine::Pump() {
  if (stopped_ || !led_) return;
  SendEvictions();
  SendProbes();
  // A batch may leave while it is advanced.
  std::vector<BatchPtr> batches;
  batches.reserve(batches_.size());
  for (const auto& [id, batch] : batches_) batches.push_back(batch);
  for (const BatchPtr& batch : batches) {
    if (batches_.contains(batch->id)) Advance(batch);
  }
  std::vector<uint64_t> failures;
  for (const auto& [id, failure] : failures_) failures.push_back(id);
  for (uint64_t id : failures) AdvanceFailure(failures_.at(id));
  if (!draining_) FormBatches();
  WriteCheckpoint();
  if (!draining_) ReadOn();
}

void Engine::EvictEntriesOf(const std::vector<ChangePtr>& changes) {
  if (!options_.targets.contains(Store::kRedis)) return;
  auto rows = std::make_shared<std::vector<RowWrite>>();
  rows->reserve(changes.size());
  for (const ChangePtr& change : changes) {
    if (change->mapping->cache) rows->push_back(RowWrite{change->seq, change, {change}});
  }
  if (!rows->empty()) evictions_.emplace(next_id_++, Eviction{std::move(rows)});
}

void Engine::SendEvictions() {
  for (auto& [id, eviction] : evictions_) {
    if (eviction.running || !Sendable(Store::kRedis)) continue;
    eviction.running = true;
    breaker(Store::kRedis).Sent();
    actions_.emplace_back(Evict{id, eviction.rows});
  }
}

void Engine::FormBatches() {
  static const RowSet nothing;
  const RowSet& busy = options_.one_batch_per_row ? busy_ : nothing;
  FormTruncations(options_.truncations_wait ? busy : nothing);
  while (!waiting_.empty() && static_cast<int64_t>(batches_.size()) - truncations_.running() <
                                  options_.batches_in_flight_max) {
    std::vector<Group> groups =
        waiting_.Take(BatchRows(), busy, progress_.read_through_seq(), truncations_.held());
    if (groups.empty()) return;
    for (const Group& group : groups) {
      group.ForEachKey([this](const RowId& key) { busy_.insert(key); });
    }
    // What could not be captured whole is never written: it stands alone from the start.
    auto unencodable = std::stable_partition(groups.begin(), groups.end(), [](const Group& group) {
      return group.Unencodable() == nullptr;
    });
    for (auto at = unencodable; at != groups.end(); ++at) {
      const Change& change = *at->Unencodable();
      StoreError error{Store::kPostgres,      "capture",
                       ErrorKind::kPermanent, std::string(kUnencodable),
                       change.capture_error,  std::nullopt};
      Fail(std::move(*at), nullptr, "capture", "unencodable", error);
    }
    groups.erase(unencodable, groups.end());
    if (!groups.empty()) AddBatch(std::move(groups), nullptr);
  }
}

/// Each is a batch of its own beside the others, which it does not hold up: it may take long.
void Engine::FormTruncations(const RowSet& busy) {
  for (SagaPtr& truncation : truncations_.Take(busy, progress_.read_through_seq())) {
    std::vector<Group> groups{Coalesce({std::move(truncation)})};
    groups.front().ForEachKey([this](const RowId& key) { busy_.insert(key); });
    AddBatch(std::move(groups), nullptr);
  }
}

/// A batch goes to every store, and is done when the slowest of them is.
int64_t Engine::BatchRows() const {
  int64_t rows = options_.batch_rows_max;
  for (const Store store : options_.targets)
    rows = std::min(rows, sizers_[static_cast<size_t>(store)].rows());
  return rows;
}

void Engine::ReadOn() {
  if (reading_ || checkpointing_) return;
  if (progress_.batch_read()) {
    ReadAheadOfTheBatch();
    return PeekWhenHeld();
  }
  if (listening_ == Listening::kArming || listening_ == Listening::kWaiting) return;
  // With nothing in flight, what waits was handed out ahead of its turn, and leaves when the pieces
  // up to it have come.
  const bool in_flight = !batches_.empty() || !failures_.empty();
  const bool full = progress_.window() >= options_.pending_rows_max ||
                    pending_bytes_ >= options_.pending_bytes_max;
  if (in_flight && full) return PeekWhenHeld();
  peek_at_.reset();
  reading_ = true;
  actions_.emplace_back(Read{NextSize()});
}

/// While the last rows of the batch are written, so that there is something to write at once when
/// it is closed. Not earlier: what it finds is all that the next batch will have.
void Engine::ReadAheadOfTheBatch() {
  if (ahead_ || ahead_asked_ || batches_.empty() || !waiting_.empty()) return;
  if (pending_bytes_ >= options_.pending_bytes_max) return;
  ahead_asked_ = true;
  reading_ = true;
  actions_.emplace_back(ReadAhead{NextSize()});
}

/// A store that is away, or slow, holds up what is read and not what is committed: whose entry is
/// in the cache still would be read there for as long.
void Engine::PeekWhenHeld() {
  if (!options_.targets.contains(Store::kRedis)) return;
  if (!peek_at_) peek_at_ = now_ + options_.peek_after;
  if (reading_ || now_ < *peek_at_ || !evictions_.empty()) return;
  reading_ = true;
  actions_.emplace_back(Peek{NextSize(), {progress_.read_through_seq(), progress_.batch_read()}});
}

/// An older change of the same row that is on its way would put its entry back.
void Engine::NoteOvertaken(const std::vector<ChangePtr>& changes) {
  for (const ChangePtr& change : changes) {
    const RowId& id = change->row;
    if (id.IsTable() ? !batches_.empty() || !waiting_.empty()
                     : busy_.contains(id) || waiting_.Holds(id))
      overtaken_[id] = std::max(overtaken_[id], change->seq);
  }
}

/// A newer change of the row is known and not written.
bool Engine::Overtaken(const RowWrite& row) const {
  const RowId& id = row.newest->row;
  if (waiting_.Holds(id) || truncations_.Waits(id.relation)) return true;
  const auto by = [&](const RowId& key) {
    const auto at = overtaken_.find(key);
    return at != overtaken_.end() && at->second > row.seq;
  };
  return !overtaken_.empty() && (by(id) || by(RowId::Table(id.relation)));
}

/// Fewer rows after large ones: what does not fit is unpacked in vain.
PieceSize Engine::NextSize() const {
  const int64_t rows =
      std::clamp<int64_t>(options_.piece_bytes_max / bytes_per_change_, 1, options_.piece_rows_max);
  return {rows, options_.piece_bytes_max};
}

void Engine::WriteCheckpoint() {
  if (checkpointing_) return;
  std::optional<CheckpointRequest> request = progress_.Next();
  // What is being read ahead is opened in the same breath.
  if (!request || (request->close && reading_)) return;
  request->open_next = request->close && ahead_ && !draining_;
  // A parked row is superseded when no successor can read the change that did it again: failing
  // then, that change would have to find the row's accepted image.
  const auto covered = std::stable_partition(
      superseded_.begin(), superseded_.end(),
      [&](const RowVersion& row) { return !request->close && row.seq > request->settled_seq; });
  request->superseded.assign(covered, superseded_.end());
  superseded_.erase(covered, superseded_.end());
  in_checkpoint_ = std::exchange(succeeded_, {});
  checkpoint_ = *request;
  checkpointing_ = true;
  actions_.emplace_back(Checkpoint{std::move(*request)});
}

void Engine::Release(const Group& group) {
  group.ForEachKey([this](const RowId& key) {
    busy_.erase(key);
    if (!overtaken_.empty() && !key.IsTable() && !waiting_.Holds(key)) overtaken_.erase(key);
  });
  for (const SagaPtr& saga : group.sagas) {
    for (const ChangePtr& change : saga->changes) {
      progress_.Settled(*change);
      pending_bytes_ -= BytesOf(*change);
    }
  }
  active_sagas_ -= static_cast<int64_t>(group.sagas.size());
}

void Engine::StopFor(const StoreError& error) {
  stopped_ = true;
  actions_.emplace_back(Stop{error});
}

void Engine::StoreFailed(Store store, const StoreError& error) {
  breaker(store).Failed(now_, error.retry_after, random_);
  actions_.emplace_back(StoreFailing{error});
}

void Engine::StoreAnswered(Store store) {
  if (breaker(store).open()) actions_.emplace_back(StoreRecovered{store});
  breaker(store).Answered();
}

}  // namespace apex::saga
