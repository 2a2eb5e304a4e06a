// Short ways to say what the saga tests are about: rows, changes, and an engine whose actions are
// answered by hand.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "saga/engine.h"

namespace apex::saga {

inline constexpr Store kNeo4j = Store::kNeo4j;
inline constexpr Store kQdrant = Store::kQdrant;
inline constexpr Store kRedis = Store::kRedis;

inline MappingPtr MappingFor(const std::set<Store>& stores) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->id = 1;
  mapping->table = "public.documents";
  if (stores.contains(kNeo4j)) mapping->node = NodeMapping{"Document", {}, {}};
  if (stores.contains(kQdrant)) mapping->vector = VectorMapping{};
  if (stores.contains(kRedis)) mapping->cache = CacheMapping{};
  return mapping;
}

inline RowId Row(const std::string& key) { return {1, key}; }

/// A change of row `key`, its own aggregate unless told otherwise; `with` sets what else matters.
struct ChangeSpec {
  int64_t seq = 0;
  uint64_t xid = 0;
  std::string key;
  std::string aggregate = "";
  int32_t command = 0;
  Operation op = Operation::kUpdate;
  std::set<Store> stores = {kNeo4j, kQdrant, kRedis};
  std::string capture_error = "";
  uint32_t relation = 1;
  uint32_t aggregate_relation = 0;  ///< 0: the same.
};

inline ChangePtr Make(const ChangeSpec& spec) {
  auto change = std::make_shared<Change>();
  change->seq = spec.seq;
  change->xid = spec.xid;
  change->command = spec.command;
  change->op = spec.op;
  change->mapping = MappingFor(spec.stores);
  change->row = {spec.relation, spec.key};
  change->aggregate = {spec.aggregate_relation > 0 ? spec.aggregate_relation : spec.relation,
                       spec.aggregate.empty() ? spec.key : spec.aggregate};
  change->capture_error = spec.capture_error;
  change->captured_at_us = 1'700'000'000'000'000 + spec.seq;
  return change;
}

inline std::vector<ChangePtr> Make(std::initializer_list<ChangeSpec> specs) {
  std::vector<ChangePtr> changes;
  for (const ChangeSpec& spec : specs) changes.push_back(Make(spec));
  return changes;
}

inline SagaPtr MakeSaga(std::initializer_list<ChangeSpec> specs) {
  const std::vector<ChangePtr> changes = Make(specs);
  std::vector<SagaPtr> sagas = GroupIntoSagas(changes);
  EXPECT_EQ(sagas.size(), 1u);
  return sagas.front();
}

inline StoreError Error(Store store, ErrorKind kind, std::string native_code = "code") {
  return {store, "write", kind, std::move(native_code), "the store's own words", std::nullopt};
}
inline StoreError Transient(Store store) { return Error(store, ErrorKind::kTransient); }
inline StoreError Unknown(Store store) { return Error(store, ErrorKind::kUnknownOutcome); }
inline StoreError Refused(Store store) { return Error(store, ErrorKind::kPermanent); }
inline StoreError Fenced(Store store) {
  return Error(store, ErrorKind::kPermanent, std::string(kFenced));
}

inline std::vector<std::string> KeysOf(const RowWrites& rows) {
  std::vector<std::string> keys;
  for (const RowWrite& row : *rows) keys.push_back(row.newest->row.key);
  return keys;
}

/// An engine and the actions it waits to see answered, in the order it asked for them.
class EngineTest : public testing::Test {
 protected:
  static EngineOptions Options() {
    EngineOptions options;
    options.targets = {kNeo4j, kQdrant, kRedis};
    options.backoff = {.initial_ms = 100, .max_ms = 1000};
    options.peek_after = std::chrono::hours(1);  // engine_peeks_test.cpp has what is sooner.
    return options;
  }

  void Start(EngineOptions options = Options(), Leadership leadership = {}) {
    engine_.emplace(std::move(options));
    Send(Led{std::move(leadership)});
  }

  /// Past the recovery window: what comes now no earlier leader has written.
  void StartFresh(EngineOptions options = Options(), Leadership leadership = {}) {
    Start(std::move(options), std::move(leadership));
    Take<Read>();
    Send(PieceArrived{Piece{{}, 0, true, 0}});
    Take<Arm>();
    Send(Woken{true});
  }

  void Send(Event event) {
    for (Action& action : engine_->Step(std::move(event), now_))
      pending_.push_back(std::move(action));
    if (nothing_ahead_ && Has<ReadAhead>()) {
      Take<ReadAhead>();
      Send(AheadArrived{Piece{}});
    }
  }

  void Pass(Time span) {
    now_ += span;
    Send(Tick{});
  }

  /// Waits as long as the engine asks.
  void PassToNextTick() {
    ASSERT_TRUE(engine_->next_tick().has_value());
    now_ = *engine_->next_tick();
    Send(Tick{});
  }

  /// Answers the outstanding Read with a piece that reaches to its last seq.
  void Deliver(std::initializer_list<ChangeSpec> specs, bool batch_end = true) {
    int64_t through_seq = 0;
    for (const ChangePtr& change : Make(specs)) through_seq = std::max(through_seq, change->seq);
    DeliverThrough(through_seq, specs, batch_end);
  }

  /// The same with changes beyond `through_seq`, which are handed out ahead of their turn.
  void DeliverThrough(int64_t through_seq, std::initializer_list<ChangeSpec> specs,
                      bool batch_end) {
    Take<Read>();
    Send(PieceArrived{Piece{Make(specs), through_seq, batch_end, 0}});
  }

  template <typename A>
  std::vector<A> All() const {
    std::vector<A> found;
    for (const Action& action : pending_) {
      if (const A* match = std::get_if<A>(&action)) found.push_back(*match);
    }
    return found;
  }

  template <typename A>
  bool Has() const {
    return !All<A>().empty();
  }

  /// Removes the oldest action of this kind, which must be there.
  template <typename A>
  A Take() {
    return TakeIf<A>([](const A&) { return true; });
  }

  template <typename A, typename Predicate>
  A TakeIf(Predicate predicate) {
    for (auto at = pending_.begin(); at != pending_.end(); ++at) {
      A* match = std::get_if<A>(&*at);
      if (!match || !predicate(*match)) continue;
      A taken = std::move(*match);
      pending_.erase(at);
      return taken;
    }
    ADD_FAILURE() << "no such action is outstanding";
    return {};
  }

  Write TakeWrite(Store store) {
    return TakeIf<Write>([&](const Write& write) { return write.store == store; });
  }
  bool HasWrite(Store store) const {
    const std::vector<Write> writes = All<Write>();
    return std::any_of(writes.begin(), writes.end(),
                       [&](const Write& write) { return write.store == store; });
  }
  void Answer(const Write& write, Status status = {}) {
    Send(WriteFinished{write.batch, write.store, std::move(status)});
  }

  void AnswerEvictions(const Status& status = {}) {
    while (Has<Evict>()) Send(EvictFinished{Take<Evict>().eviction, status});
  }

  /// Accepts every write that the store is asked for, those that follow included.
  void AcceptAll(Store store) {
    if (store == kRedis) AnswerEvictions();
    while (HasWrite(store)) Answer(TakeWrite(store));
  }
  void AcceptAll() {
    AnswerEvictions();
    while (Has<Write>()) Answer(Take<Write>());
  }

  /// Answers every write to `store` as one that refuses the rows named.
  void AnswerRefusing(Store store, const std::set<std::string>& poison) {
    if (store == kRedis) AnswerEvictions();
    while (HasWrite(store)) {
      const Write write = TakeWrite(store);
      const std::vector<std::string> keys = KeysOf(write.rows);
      const bool refused = std::any_of(keys.begin(), keys.end(),
                                       [&](const auto& key) { return poison.contains(key); });
      Answer(write, refused ? Status(Refused(store)) : Status());
    }
  }

  void AnswerProbe(Status status) {
    const Store store = Take<Probe>().store;
    Send(ProbeFinished{store, std::move(status)});
  }

  /// PostgreSQL's answer to a recorded failure: nothing was there before.
  static std::vector<RowUndo> UndosOf(const FailureRecord& record) {
    std::vector<RowUndo> undos;
    for (const FailureRecord::Row& row : record.rows) {
      undos.push_back({MappingFor({kNeo4j, kQdrant, kRedis}),
                       row.row,
                       row.failed_seq,
                       row.first_seq - 1,
                       {},
                       {},
                       {}});
    }
    return undos;
  }

  /// Records the outstanding failure, undoes it without trouble and settles it. What was undone, in
  /// order.
  std::vector<Store> Compensate() {
    const RecordFailure failure = Take<RecordFailure>();
    Send(FailureRecorded{failure.failure, UndosOf(failure.record)});
    std::vector<Store> undone;
    while (Has<Undo>()) {
      const Undo undo = Take<Undo>();
      undone.push_back(undo.store);
      Send(UndoFinished{undo.failure, undo.store, {}});
    }
    Send(FailureSettled{Take<SettleFailure>().failure, {}});
    return undone;
  }

  /// Writes the outstanding checkpoint, and those that it lets follow: what they say together.
  CheckpointRequest WriteCheckpoint() {
    CheckpointRequest request = Take<Checkpoint>().request;
    Send(CheckpointFinished{{}});
    while (Has<Checkpoint>()) {
      CheckpointRequest next = Take<Checkpoint>().request;
      Send(CheckpointFinished{{}});
      next.superseded.insert(next.superseded.begin(), request.superseded.begin(),
                             request.superseded.end());
      request = std::move(next);
    }
    return request;
  }

  int64_t SagasThatSucceeded() const {
    int64_t sagas = 0;
    for (const SagasSucceeded& each : All<SagasSucceeded>()) sagas += each.sagas;
    return sagas;
  }

  std::optional<Engine> engine_;
  bool nothing_ahead_ = true;  ///< Whether that is what every ReadAhead is answered.
  std::vector<Action> pending_;
  Time now_{1000};
};

}  // namespace apex::saga
