// A leader's client of one store: sends one request after the other, in order, behind the lease.
//
// What may still arrive although nobody waits for it is a danger to what is removed meanwhile,
// since Qdrant keeps no version of it. So a client remembers, in order, what it deletes and undoes
// there while that may be, and repeats it when it is over.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "surroundings.h"

namespace apex::sim {

class SimClient {
 public:
  using Answered = std::function<void(const Request&, Status)>;

  /// `leads` is the lease; `answered` is called with every answer, in the order of the requests.
  SimClient(Surroundings& around, Store store, int64_t epoch, std::function<bool()> leads,
            Answered answered);

  void Send(Request request);

  /// The process was killed: what is on its way may still arrive.
  void Kill();
  void Pause();
  void Wake();

  /// Nothing that was given up can land any more.
  bool sure() const { return around_.scheduler.now() >= sure_from_ && removed_.empty(); }
  bool idle() const;

 private:
  void Depart();
  void Arrive();
  void Answer(Status status);
  void MayLandLate(const Request& request, Turn turn, Fate fate, Time latest);
  /// Of what is sent now.
  Time Deadline() const { return around_.scheduler.now() + Time{kStoreDeadlineMs}; }
  Turn NextTurn() { return {epoch_, ++turns_}; }
  void Doubt();
  void Remember(const Request& request);
  void RepeatRemovals();
  StoreError Fenced() const;
  SimStore& store() { return *around_.targets.at(store_).store; }

  Surroundings& around_;
  const Store store_;
  const int64_t epoch_;
  int64_t turns_ = 0;
  const std::function<bool()> leads_;
  const Answered answered_;
  std::deque<Request> line_;  ///< The first one is under way.
  bool dead_ = false;
  bool paused_ = false;
  bool stuck_ = false;             ///< Paused between the look at the lease and the send.
  Time stuck_until_{0};            ///< The deadline of what is stuck.
  std::optional<Status> unheard_;  ///< An answer that came while it was paused.
  Time sure_from_{0};
  std::vector<Request> removed_;
};

}  // namespace apex::sim
