// Whether a store may be sent something now (rule E4): after a transient failure or an unknown
// outcome everything for that store waits, then one request goes out alone, and its success opens
// the way again.
//
// Not thread-safe: part of the engine's state. Time and randomness come from outside.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "core/backoff.h"

namespace apex::saga {

/// On the engine's own clock, which only its caller reads.
using Time = std::chrono::milliseconds;

class Breaker {
 public:
  explicit Breaker(Backoff backoff) : backoff_(backoff) {}

  bool Allows(Time now) const { return failures_ == 0 || (!probing_ && now >= retry_at_); }
  void Sent() { probing_ = failures_ > 0; }
  /// The store answered, be it with a refusal.
  void Answered();
  void Failed(Time now, std::optional<Time> retry_after, std::mt19937_64& random);

  bool open() const { return failures_ > 0; }
  /// When something that waits may be sent; nothing when it need not wait for the clock.
  std::optional<Time> retry_at() const;
  /// Since when the store has been failing.
  std::optional<Time> failing_since() const;

 private:
  Backoff backoff_;
  int failures_ = 0;
  bool probing_ = false;
  Time retry_at_{0};
  Time failing_since_{0};
};

}  // namespace apex::saga
