// Everything random in a simulation comes from here, so that its seed replays it.
#pragma once

#include <cstdint>
#include <random>

namespace apex::sim {

/// Plain remainders instead of the standard distributions, whose sequences differ between standard
/// libraries.
class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}

  /// Both ends included.
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int64_t percent) { return Between(1, 100) <= percent; }
  uint64_t Seed() { return random_(); }

 private:
  std::mt19937_64 random_;
};

}  // namespace apex::sim
