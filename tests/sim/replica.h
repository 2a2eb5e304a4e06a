// One process that leads: the engine under test, and a simulated dispatcher around it.
//
// It has a FIFO client for each store and one for PostgreSQL, as the real dispatcher has, so that
// stores overtake each other and no request overtakes another of its store. It can be killed, asked
// to stop, or paused; a paused one hears nothing until it wakes, perhaps to find that another one
// leads.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "client.h"
#include "reader.h"
#include "saga/engine.h"
#include "surroundings.h"
#include "traffic.h"

namespace apex::sim {

class Replica {
 public:
  Replica(Surroundings& around, const saga::EngineOptions& options, int64_t epoch);

  void Start(Leadership leadership);
  void Kill();
  void Drain();
  void Pause();
  void Wake();

  bool gone() const { return gone_; }
  bool paused() const { return paused_; }
  bool draining() const { return draining_; }
  bool leads() const;
  /// Nothing that it gave up can land any more.
  bool sure() const;
  /// It has nothing left to do and waits until something is committed.
  bool at_rest() const;

 private:
  void Step(saga::Event event);
  void Perform(saga::Read action);
  void Perform(saga::ReadAhead action);
  void Perform(saga::Peek action);
  void Perform(saga::Arm action);
  void Perform(saga::AwaitChange action);
  void Perform(saga::Evict action);
  void Perform(saga::Write action);
  void Perform(saga::Probe action);
  void Perform(const saga::RecordFailure& action);
  void Perform(saga::Undo action);
  void Perform(const saga::SettleFailure& action);
  void Perform(saga::Checkpoint action);
  void Perform(const saga::Stop& action);
  template <typename Observation>
  void Perform(Observation) {}

  void CheckDrained();
  void WakeAfter(int64_t delay_ms, bool armed);
  void Send(Store store, Request request) { clients_.at(store).Send(std::move(request)); }
  void Hear(Store store, const Request& request, Status status);
  /// `transaction` commits and returns how its answer is told; `refused` is told when another
  /// process leads, or PostgreSQL fails. The answer of one that a crash overtakes is never heard.
  void PostLedger(std::function<saga::Event()> transaction,
                  std::function<saga::Event(StoreError)> refused);
  void ServeLedger();
  void CommitNext();
  saga::Event AnswerNext();
  void RunOrKeep(std::function<void()> event);

  struct Transaction {
    std::function<saga::Event()> commit;
    std::function<saga::Event(StoreError)> refuse;
  };

  Surroundings& around_;
  const int64_t epoch_;
  saga::Engine engine_;
  SimReader reader_;
  Traffic traffic_;
  std::map<Store, SimClient> clients_;
  std::map<std::pair<Store, uint64_t>, Time> sent_at_;  ///< Of the last write of each batch.
  std::deque<Transaction> ledger_;                      ///< The first one is under way.
  std::vector<std::function<void()>> inbox_;  ///< What a paused process hears when it wakes.
  bool gone_ = false;
  bool paused_ = false;
  bool draining_ = false;
  bool asleep_ = false;
};

}  // namespace apex::sim
