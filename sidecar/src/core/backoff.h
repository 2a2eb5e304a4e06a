// How long to wait before attempt n of something that failed: exponential, capped, with jitter.
//
// Pure: the randomness is the caller's, so a seed replays every delay. An immutable value, safe to
// copy and share.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace apex {

struct Backoff {
  int64_t initial_ms = 50;
  int64_t max_ms = 10000;

  /// `attempt` counts the failures before this wait, from 0. The ceiling doubles with each attempt
  /// up to `max_ms`, and the delay lies between half the ceiling and the ceiling: never zero, so
  /// that no failure becomes a busy loop, and spread out, so that processes that failed together do
  /// not come back together.
  std::chrono::milliseconds Delay(int attempt, std::mt19937_64& random) const;
};

}  // namespace apex
