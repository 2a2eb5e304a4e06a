// Virtual time: what is to happen when. Nothing in a simulation waits for a real clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "saga/breaker.h"

namespace apex::sim {

using saga::Time;

class Scheduler {
 public:
  Time now() const { return now_; }
  bool idle() const { return events_.empty(); }

  void After(int64_t delay_ms, std::function<void()> event) {
    At(now_ + Time(delay_ms), std::move(event));
  }
  void At(Time when, std::function<void()> event) {
    events_.emplace(std::pair(when, next_serial_++), std::move(event));
  }

  void RunNext() {
    auto next = events_.extract(events_.begin());
    now_ = next.key().first;
    next.mapped()();
  }

 private:
  Time now_{0};
  uint64_t next_serial_ = 0;
  std::map<std::pair<Time, uint64_t>, std::function<void()>>
      events_;  ///< Equal times in the order they were asked for.
};

}  // namespace apex::sim
