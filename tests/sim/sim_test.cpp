// Many seeded runs of the simulator, and proof that its checker bites.
//
// APEX_SIM_RUNS says how many; APEX_SIM_SEED begins there, so that a failed run is repeated alone.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "options.h"

namespace apex::sim {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::stoull(text) : otherwise;
}

std::string Words(const SimReport& report) {
  std::string words;
  for (const std::string& violation : report.violations) words += "\n  " + violation;
  return words;
}

struct Count {
  const char* name;
  int64_t SimCounts::*value;
  int64_t per_100_runs_min;  ///< A simulation in which nothing happens proves nothing.
};

constexpr Count kCounts[] = {
    {"transactions", &SimCounts::transactions, 2000},
    {"refreshes", &SimCounts::refreshes, 100},
    {"truncations", &SimCounts::truncations, 50},
    {"crashes", &SimCounts::crashes, 50},
    {"pauses", &SimCounts::pauses, 30},
    {"woken_deposed", &SimCounts::woken_deposed, 20},
    {"store_crashes", &SimCounts::store_crashes, 100},
    {"ledger_failures", &SimCounts::ledger_failures, 20},
    {"failures_recorded", &SimCounts::failures_recorded, 100},
    {"superseded", &SimCounts::superseded, 50},
    {"reverted", &SimCounts::reverted, 5},
    {"compensation_failed", &SimCounts::compensation_failed, 1},
    {"doubts", &SimCounts::doubts, 100},
    {"late_requests", &SimCounts::late_requests, 50},
    {"repeated_requests", &SimCounts::repeated_requests, 20},
    {"short_answers", &SimCounts::short_answers, 20},
    {"writes", &SimCounts::writes, 1000},
    {"batches_read_ahead", &SimCounts::batches_read_ahead, 100},
    {"peeked", &SimCounts::peeked, 100},
};

TEST(SimulationTest, KeepsItsPromises) {
  const uint64_t first = FromEnvironment("APEX_SIM_SEED", 1);
  const uint64_t runs = FromEnvironment("APEX_SIM_RUNS", 2000);
  SimCounts all;
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    const SimReport report = Simulate({.seed = seed});
    ASSERT_TRUE(report.violations.empty())
        << "repeat it with make sim SEED=" << seed << " RUNS=1" << Words(report);
    for (const Count& count : kCounts) all.*count.value += report.counts.*count.value;
  }
  for (const Count& count : kCounts) {
    RecordProperty(count.name, std::to_string(all.*count.value));
    if (FromEnvironment("APEX_SIM_FIGURES", 0) > 0)
      std::cout << count.name << ": " << all.*count.value << "\n";
    if (runs < 100) continue;
    EXPECT_GE(all.*count.value, count.per_100_runs_min * static_cast<int64_t>(runs / 100))
        << count.name;
  }
}

TEST(SimulationTest, RepeatsARunFromItsSeed) {
  const SimReport first = Simulate({.seed = 7});
  const SimReport second = Simulate({.seed = 7});
  EXPECT_EQ(first.counts.writes, second.counts.writes);
  EXPECT_EQ(first.counts.transactions, second.counts.transactions);
  EXPECT_EQ(first.counts.failures_recorded, second.counts.failures_recorded);
}

struct NamedFlaw {
  Flaw flaw;
  const char* name;
};

constexpr NamedFlaw kFlaws[] = {
    {Flaw::kTwoBatchesOfOneRow, "E1TwoBatchesOfOneRow"},
    {Flaw::kOldestImageStandsForAll, "E2OldestImageStandsForAll"},
    {Flaw::kUpdatesAreDeltas, "E3UpdatesAreDeltas"},
    {Flaw::kUnknownIsDone, "E4UnknownIsDone"},
    {Flaw::kBlamedWithoutProbe, "E4BlamedWithoutProbe"},
    {Flaw::kNothingUndone, "E5NothingUndone"},
    {Flaw::kNotResumed, "E5NotResumed"},
    {Flaw::kUndoOfOneVersion, "E5UndoOfOneVersion"},
    {Flaw::kParkedEventsReadAgain, "E6ParkedEventsReadAgain"},
    {Flaw::kParkedImageAlwaysHandedOn, "E6ParkedImageAlwaysHandedOn"},
    {Flaw::kNeverSuperseded, "E6NeverSuperseded"},
    {Flaw::kOldImageRefreshed, "E7OldImageRefreshed"},
    {Flaw::kRevertOfAnything, "E8RevertOfAnything"},
    {Flaw::kTruncationDoesNotWait, "E9TruncationDoesNotWait"},
    {Flaw::kTruncationTakesNewer, "E9TruncationTakesNewer"},
    {Flaw::kTruncationLeavesParked, "E9TruncationLeavesParked"},
    {Flaw::kTruncationNotReplayed, "E9TruncationNotReplayed"},
    {Flaw::kWindowInPieces, "E10WindowInPieces"},
    {Flaw::kAcknowledgementIsProof, "E11AcknowledgementIsProof"},
    {Flaw::kNoVersionGuard, "FenceNoVersionGuard"},
    {Flaw::kNoEpochGuard, "FenceNoEpochGuard"},
    {Flaw::kNoTurnGuard, "FenceNoTurnGuard"},
    {Flaw::kNoLeaseCheck, "FenceNoLeaseCheck"},
    {Flaw::kRemovalsNotRepeated, "FenceRemovalsNotRepeated"},
};

/// With one rule left out, some seed must break a promise: else the simulator would not see the
/// engine break it either.
class CheckerTest : public testing::TestWithParam<NamedFlaw> {};

TEST_P(CheckerTest, FindsTheRuleThatWasLeftOut) {
  constexpr uint64_t kRunsMax = 3000;
  for (uint64_t seed = 1; seed <= kRunsMax; ++seed) {
    const SimReport report = Simulate({.seed = seed, .flaw = GetParam().flaw});
    if (report.violations.empty()) continue;
    RecordProperty("seed", std::to_string(seed));
    RecordProperty("violation", report.violations.front());
    return;
  }
  FAIL() << "no violation in " << kRunsMax << " runs";
}

INSTANTIATE_TEST_SUITE_P(Flaws, CheckerTest, testing::ValuesIn(kFlaws),
                         [](const auto& flaw) { return std::string(flaw.param.name); });

}  // namespace
}  // namespace apex::sim
