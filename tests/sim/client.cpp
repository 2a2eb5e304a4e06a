#include "client.h"

#include <algorithm>
#include <memory>
#include <variant>

namespace apex::sim {
namespace {

template <typename Rows, typename Keeps>
auto Filtered(const Rows& rows, Keeps keeps) {
  auto kept = std::make_shared<std::remove_const_t<typename Rows::element_type>>();
  std::copy_if(rows->begin(), rows->end(), std::back_inserter(*kept), keeps);
  return kept;
}

}  // namespace

SimClient::SimClient(Surroundings& around, Store store, int64_t epoch, std::function<bool()> leads,
                     Answered answered)
    : around_(around),
      store_(store),
      epoch_(epoch),
      leads_(std::move(leads)),
      answered_(std::move(answered)) {
  // The leader before may have something under way.
  if (epoch_ > 1) Doubt();
}

void SimClient::Send(Request request) {
  auto place = line_.end();
  // What is urgent waits for what is under way alone.
  if (std::holds_alternative<saga::Evict>(request) && !line_.empty()) {
    place = std::find_if(line_.begin() + 1, line_.end(), [](const Request& waiting) {
      return !std::holds_alternative<saga::Evict>(waiting);
    });
  }
  line_.insert(place, std::move(request));
  if (line_.size() == 1) Depart();
}

bool SimClient::idle() const {
  return std::none_of(line_.begin(), line_.end(), [](const Request& request) {
    return !std::holds_alternative<saga::Evict>(request);
  });
}

void SimClient::Depart() {
  around_.scheduler.After(around_.dice.Between(1, 15), [this] {
    if (dead_) return;
    if (!paused_) return Arrive();
    // It is on its way, or it is the worst place: the lease was good, and nothing is sent yet.
    if (around_.dice.Chance(50)) return Arrive();
    stuck_ = true;
  });
}

void SimClient::Arrive() {
  if (!leads_() && !paused_ && !stuck_) return Answer(Fenced());
  const Fate fate = around_.DrawFate(store_);
  const Turn turn = NextTurn();
  Status status = store().Execute(line_.front(), turn, fate, !leads_());
  if (fate == Fate::kLate) {
    MayLandLate(line_.front(), turn, Fate::kArrives, stuck_ ? stuck_until_ : Deadline());
    Doubt();
  }
  if (around_.options.flaw == Flaw::kUnknownIsDone && !status.ok() &&
      status.error().kind == ErrorKind::kUnknownOutcome) {
    status = {};
  }
  if (paused_) {
    unheard_ = std::move(status);
  } else {
    Answer(std::move(status));
  }
}

void SimClient::Answer(Status status) {
  const Request request = std::move(line_.front());
  line_.pop_front();
  if (status.ok()) Remember(request);
  if (!line_.empty()) Depart();
  answered_(request, std::move(status));
}

void SimClient::MayLandLate(const Request& request, Turn turn, Fate fate, Time latest) {
  const Time now = around_.scheduler.now();
  around_.scheduler.After(around_.dice.Between(0, std::max(latest - now, Time{0}).count()),
                          [this, request, turn, fate, lives = around_.targets.at(store_).lives] {
                            if (lives != around_.targets.at(store_).lives) return;
                            ++around_.counts.late_requests;
                            static_cast<void>(store().Execute(request, turn, fate, true));
                          });
}

void SimClient::Kill() {
  dead_ = true;
  if (line_.empty() || unheard_) return;
  const Fate fate = around_.dice.Chance(30) ? Fate::kCutShort : Fate::kArrives;
  const Turn turn = NextTurn();
  if (around_.dice.Chance(33)) {
    static_cast<void>(store().Execute(line_.front(), turn, fate));
  } else if (around_.dice.Chance(50)) {
    MayLandLate(line_.front(), turn, fate, Deadline());
  }
}

void SimClient::Pause() {
  paused_ = true;
  stuck_until_ = Deadline();
}

void SimClient::Wake() {
  paused_ = false;
  if (unheard_) {
    Answer(*std::exchange(unheard_, std::nullopt));
  } else if (stuck_) {
    // Its deadline has passed as well, if the pause was long; Qdrant does not ask who is calling.
    const bool in_time = around_.scheduler.now() < stuck_until_ || store().fenced();
    if (in_time) {
      Arrive();
    } else {
      Answer(StoreError{store_, "request", ErrorKind::kUnknownOutcome, "sim.deadline", "simulated",
                        std::nullopt});
    }
  }
  stuck_ = false;
}

void SimClient::Doubt() {
  if (store().fenced()) return;
  ++around_.counts.doubts;
  sure_from_ = Deadline() + Time{1};
  around_.scheduler.At(sure_from_, [this] {
    if (around_.scheduler.now() >= sure_from_) RepeatRemovals();
  });
}

void SimClient::Remember(const Request& request) {
  if (sure() || around_.options.flaw == Flaw::kRemovalsNotRepeated) return;
  if (const auto* write = std::get_if<saga::Write>(&request)) {
    saga::Write removing = *write;
    removing.rows = Filtered(
        write->rows, [this](const RowWrite& row) { return !HeldBy(store_, row.newest->after); });
    if (!removing.rows->empty()) removed_.emplace_back(std::move(removing));
  } else if (!std::holds_alternative<saga::Probe>(request)) {
    removed_.push_back(request);
  }
}

void SimClient::RepeatRemovals() {
  if (dead_ || paused_ || !leads_()) return;
  for (const Request& request : std::exchange(removed_, {}))
    static_cast<void>(store().Execute(request, NextTurn(), Fate::kArrives, true));
}

StoreError SimClient::Fenced() const {
  return {store_,      "request",   ErrorKind::kPermanent, std::string(kFenced),
          "simulated", std::nullopt};
}

}  // namespace apex::sim
