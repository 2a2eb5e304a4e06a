#include "core/backoff.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace apex {
namespace {

using std::chrono::milliseconds;

constexpr uint64_t kSeed = 20250301;

TEST(BackoffTest, DoublesItsCeilingUntilTheMaximum) {
  const Backoff backoff{.initial_ms = 50, .max_ms = 1000};
  const int64_t ceilings[] = {50, 100, 200, 400, 800, 1000, 1000};
  std::mt19937_64 random(kSeed);
  for (int attempt = 0; attempt < 7; ++attempt) {
    for (int i = 0; i < 1000; ++i) {
      const auto delay = backoff.Delay(attempt, random);
      EXPECT_GE(delay.count(), (ceilings[attempt] + 1) / 2)
          << "attempt " << attempt << ", seed " << kSeed;
      EXPECT_LE(delay.count(), ceilings[attempt]) << "attempt " << attempt << ", seed " << kSeed;
    }
  }
}

TEST(BackoffTest, ReachesBothEndsOfTheJitter) {
  const Backoff backoff{.initial_ms = 10, .max_ms = 10};
  std::mt19937_64 random(kSeed);
  std::set<int64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(backoff.Delay(0, random).count());
  EXPECT_EQ(seen, (std::set<int64_t>{5, 6, 7, 8, 9, 10})) << "seed " << kSeed;
}

TEST(BackoffTest, RepeatsItselfUnderTheSameSeed) {
  const Backoff backoff;
  std::mt19937_64 first(kSeed);
  std::mt19937_64 second(kSeed);
  for (int attempt = 0; attempt < 20; ++attempt)
    EXPECT_EQ(backoff.Delay(attempt, first), backoff.Delay(attempt, second));
}

TEST(BackoffTest, DoesNotOverflowAtAnyAttemptOrMaximum) {
  const Backoff backoff{.initial_ms = 50, .max_ms = std::numeric_limits<int64_t>::max()};
  std::mt19937_64 random(kSeed);
  EXPECT_GT(backoff.Delay(std::numeric_limits<int>::max(), random), milliseconds(0));
}

TEST(BackoffTest, StartsAtTheMaximumWhenTheInitialDelayIsLarger) {
  const Backoff backoff{.initial_ms = 5000, .max_ms = 100};
  std::mt19937_64 random(kSeed);
  EXPECT_LE(backoff.Delay(0, random), milliseconds(100));
}

TEST(BackoffTest, NeverWaitsNothing) {
  const Backoff backoff{.initial_ms = 0, .max_ms = 0};
  std::mt19937_64 random(kSeed);
  EXPECT_GE(backoff.Delay(0, random), milliseconds(1));
}

}  // namespace
}  // namespace apex
