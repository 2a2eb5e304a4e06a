#include "replica.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

namespace apex::sim {
namespace {

constexpr std::string_view kLedgerFailed = "sim.ledger";

}  // namespace

Replica::Replica(Surroundings& around, const saga::EngineOptions& options, int64_t epoch)
    : around_(around),
      epoch_(epoch),
      engine_(options),
      reader_(around.postgres, around.options),
      traffic_(around.violations) {
  for (Store store : kTargets) {
    clients_.try_emplace(
        store, around, store, epoch,
        [this] { return leads() || around_.options.flaw == Flaw::kNoLeaseCheck; },
        [this, store](const Request& request, Status status) {
          Hear(store, request, std::move(status));
        });
  }
}

bool Replica::leads() const { return !gone_ && around_.postgres.epoch() == epoch_; }

bool Replica::sure() const {
  return std::all_of(clients_.begin(), clients_.end(),
                     [](const auto& client) { return client.second.sure(); });
}

bool Replica::at_rest() const {
  return asleep_ && engine_.unsettled_changes() == 0 && engine_.active_sagas() == 0;
}

void Replica::Start(Leadership leadership) { Step(saga::Led{std::move(leadership)}); }

void Replica::Kill() {
  if (!ledger_.empty() && leads() && around_.dice.Chance(50)) ledger_.front().commit();
  gone_ = true;
  for (auto& [store, client] : clients_) client.Kill();
}

void Replica::Drain() {
  draining_ = true;
  Step(saga::Drain{});
}

void Replica::Pause() {
  paused_ = true;
  for (auto& [store, client] : clients_) client.Pause();
}

void Replica::Wake() {
  paused_ = false;
  for (auto& [store, client] : clients_) client.Wake();
  for (const std::function<void()>& event : std::exchange(inbox_, {})) event();
}

void Replica::RunOrKeep(std::function<void()> event) {
  if (gone_) return;
  if (!paused_) return event();
  inbox_.push_back([this, event = std::move(event)] {
    if (!gone_) event();
  });
}

void Replica::Step(saga::Event event) {
  for (saga::Action& action : engine_.Step(std::move(event), around_.scheduler.now())) {
    std::visit([this](auto&& asked) { Perform(std::forward<decltype(asked)>(asked)); },
               std::move(action));
    if (gone_) return;
  }
  if (const std::optional<Time> tick = engine_.next_tick()) {
    around_.scheduler.At(*tick, [this] { RunOrKeep([this] { Step(saga::Tick{}); }); });
  }
  if (!draining_ || !engine_.drained()) return;
  if (sure()) return CheckDrained();
  // What it gave up may still land, and nobody else knows what to remove again: see HarmLeader.
  around_.scheduler.After(kStoreDeadlineMs, [this] { RunOrKeep([this] { Step(saga::Tick{}); }); });
}

void Replica::CheckDrained() {
  const bool idle = std::all_of(clients_.begin(), clients_.end(),
                                [](const auto& client) { return client.second.idle(); });
  if (!idle || !ledger_.empty())
    around_.violations.Add("the engine says it is drained while something is under way");
  Kill();
}

void Replica::Perform(saga::Read action) {
  PostLedger(
      [this, rows_max = action.size.rows_max]() -> saga::Event {
        Piece piece = reader_.Read(rows_max);
        traffic_.HandedOut(piece);
        return saga::PieceArrived{std::move(piece)};
      },
      [](StoreError error) -> saga::Event { return saga::PieceArrived{std::move(error)}; });
}

void Replica::Perform(saga::ReadAhead action) {
  PostLedger(
      [this, rows_max = action.size.rows_max]() -> saga::Event {
        Piece piece = reader_.ReadAhead(rows_max);
        traffic_.HandedOut(piece);
        return saga::AheadArrived{std::move(piece)};
      },
      [](StoreError error) -> saga::Event { return saga::AheadArrived{std::move(error)}; });
}

void Replica::Perform(saga::Peek action) {
  PostLedger(
      [this, place = action.place]() -> saga::Event {
        Piece piece = reader_.Peek(place);
        around_.counts.peeked += static_cast<int64_t>(piece.changes.size());
        return saga::Peeked{std::move(piece)};
      },
      [](StoreError error) -> saga::Event { return saga::Peeked{std::move(error)}; });
}

void Replica::Perform(saga::Arm) { WakeAfter(around_.dice.Between(1, 8), true); }

void Replica::Perform(saga::AwaitChange) {
  asleep_ = true;
  WakeAfter(around_.dice.Between(1, 30), false);
}

void Replica::WakeAfter(int64_t delay_ms, bool armed) {
  around_.scheduler.After(delay_ms, [this, armed] {
    RunOrKeep([this, armed] {
      asleep_ = false;
      Step(saga::Woken{armed});
    });
  });
}

void Replica::Perform(saga::Evict action) { Send(Store::kRedis, std::move(action)); }

void Replica::Perform(saga::Probe action) {
  if (around_.options.flaw != Flaw::kBlamedWithoutProbe) return Send(action.store, action);
  around_.scheduler.After(0, [this, store = action.store] {
    RunOrKeep([this, store] { Step(saga::ProbeFinished{store, {}}); });
  });
}

void Replica::Perform(saga::Write action) {
  ++around_.counts.writes;
  traffic_.Sent(action);
  sent_at_[{action.store, action.batch}] = around_.scheduler.now();
  if (around_.options.flaw == Flaw::kOldestImageStandsForAll) {
    auto rows = std::make_shared<std::vector<RowWrite>>(*action.rows);
    for (RowWrite& row : *rows) row.newest = row.changes.front();
    action.rows = std::move(rows);
  }
  const Store store = action.store;
  Send(store, std::move(action));
}

void Replica::Perform(saga::Undo action) {
  const bool committed = std::any_of(
      action.rows->begin(), action.rows->end(),
      [&](const RowUndo& undo) { return around_.postgres.saga_rows().contains(undo.row); });
  // One that woke too late asks for what its successor may have finished; nobody will do it.
  if (!committed && leads())
    around_.violations.Add("E5: something is undone before its intent is committed");
  traffic_.Sent(action);
  if (around_.options.flaw != Flaw::kNothingUndone) {
    const Store store = action.store;
    return Send(store, std::move(action));
  }
  around_.scheduler.After(0, [this, action = std::move(action)] {
    RunOrKeep([this, action] { Hear(action.store, action, {}); });
  });
}

void Replica::Perform(const saga::RecordFailure& action) {
  traffic_.Blamed(action.record);
  PostLedger(
      [this, action]() -> saga::Event {
        return saga::FailureRecorded{action.failure, around_.postgres.RecordFailure(action.record)};
      },
      [id = action.failure](StoreError error) -> saga::Event {
        return saga::FailureRecorded{id, std::move(error)};
      });
}

void Replica::Perform(const saga::SettleFailure& action) {
  PostLedger(
      [this, action]() -> saga::Event {
        around_.postgres.SettleFailure(action.id, action.state);
        return saga::FailureSettled{action.failure, {}};
      },
      [id = action.failure](StoreError error) -> saga::Event {
        return saga::FailureSettled{id, std::move(error)};
      });
}

void Replica::Perform(saga::Checkpoint action) {
  PostLedger(
      [this, action = std::move(action)]() -> saga::Event {
        around_.postgres.Checkpoint(action.request);
        if (action.request.open_next) {
          ++around_.counts.batches_read_ahead;
          reader_.OpenNext();
        }
        return saga::CheckpointFinished{{}};
      },
      [](StoreError error) -> saga::Event { return saga::CheckpointFinished{std::move(error)}; });
}

void Replica::Perform(const saga::Stop& action) {
  // It is thrown away with what it has on its way, as if the process had died.
  if (action.reason.native_code == kLedgerFailed) return Kill();
  if (leads()) {
    around_.violations.Add("the engine stopped though it leads: " + Describe(action.reason));
  }
  gone_ = true;
}

void Replica::Hear(Store store, const Request& request, Status status) {
  if (gone_) return;
  if (const auto* evict = std::get_if<saga::Evict>(&request)) {
    Step(saga::EvictFinished{evict->eviction, std::move(status)});
  } else if (const auto* write = std::get_if<saga::Write>(&request)) {
    traffic_.Answered(*write);
    const Time took = around_.scheduler.now() - sent_at_.at({store, write->batch});
    Step(saga::WriteFinished{write->batch, store, std::move(status), took});
  } else if (const auto* undo = std::get_if<saga::Undo>(&request)) {
    traffic_.Answered(*undo);
    Step(saga::UndoFinished{undo->failure, store, std::move(status)});
  } else {
    Step(saga::ProbeFinished{store, std::move(status)});
  }
}

void Replica::PostLedger(std::function<saga::Event()> transaction,
                         std::function<saga::Event(StoreError)> refused) {
  ledger_.push_back({std::move(transaction), std::move(refused)});
  if (ledger_.size() == 1) ServeLedger();
}

void Replica::ServeLedger() {
  around_.scheduler.After(around_.dice.Between(1, 8), [this] {
    // Paused before it was sent.
    if (paused_ && around_.dice.Chance(50)) return RunOrKeep([this] { CommitNext(); });
    if (!gone_) CommitNext();
  });
}

void Replica::CommitNext() {
  saga::Event answer = AnswerNext();
  RunOrKeep([this, answer = std::move(answer)] {
    ledger_.pop_front();
    if (!ledger_.empty()) ServeLedger();
    Step(answer);
  });
}

saga::Event Replica::AnswerNext() {
  const Transaction& next = ledger_.front();
  if (!leads()) {
    return next.refuse({Store::kPostgres, "transaction", ErrorKind::kPermanent,
                        std::string(kFenced), "another process leads", std::nullopt});
  }
  // As with other harm, see HarmLeader.
  const bool may_fail = !paused_ && !draining_ && sure();
  if (!may_fail || !around_.LedgerFails()) return next.commit();
  ++around_.counts.ledger_failures;
  if (around_.dice.Chance(50)) next.commit();
  return next.refuse({Store::kPostgres, "transaction", ErrorKind::kUnknownOutcome,
                      std::string(kLedgerFailed), "simulated", std::nullopt});
}

}  // namespace apex::sim
