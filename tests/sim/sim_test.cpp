// Many seeded runs of the simulator, and proof that its checker bites.
//
// APEX_SIM_RUNS says how many; APEX_SIM_SEED begins there, so that a failed run is repeated alone
// by
//   APEX_SIM_SEED=<seed> APEX_SIM_RUNS=1 unit_sim --gtest_filter=SimulationTest.KeepsItsPromises
#include <gtest/gtest.h>

#include <cstdlib>
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

TEST(SimulationTest, KeepsItsPromises) {
  const uint64_t first = FromEnvironment("APEX_SIM_SEED", 1);
  const uint64_t runs = FromEnvironment("APEX_SIM_RUNS", 500);
  SimCounts all;
  for (uint64_t seed = first; seed < first + runs; ++seed) {
    const SimReport report = Simulate({.seed = seed});
    ASSERT_TRUE(report.violations.empty())
        << "repeat it with APEX_SIM_SEED=" << seed << " APEX_SIM_RUNS=1" << Words(report);
    all.transactions += report.counts.transactions;
    all.crashes += report.counts.crashes;
    all.failures_recorded += report.counts.failures_recorded;
    all.superseded += report.counts.superseded;
    all.compensation_failed += report.counts.compensation_failed;
    all.late_requests += report.counts.late_requests;
    all.writes += report.counts.writes;
  }
  RecordProperty("transactions", std::to_string(all.transactions));
  RecordProperty("crashes", std::to_string(all.crashes));
  RecordProperty("failures_recorded", std::to_string(all.failures_recorded));
  RecordProperty("superseded", std::to_string(all.superseded));
  RecordProperty("compensation_failed", std::to_string(all.compensation_failed));
  RecordProperty("late_requests", std::to_string(all.late_requests));
  RecordProperty("writes", std::to_string(all.writes));
  if (runs < 100) return;
  // A simulation in which nothing happens proves nothing.
  EXPECT_GT(all.crashes, static_cast<int64_t>(runs));
  EXPECT_GT(all.failures_recorded, static_cast<int64_t>(runs));
  EXPECT_GT(all.superseded, static_cast<int64_t>(runs) / 2);
  EXPECT_GT(all.compensation_failed, 0);
  EXPECT_GT(all.late_requests, static_cast<int64_t>(runs) / 4);
}

TEST(SimulationTest, RepeatsARunFromItsSeed) {
  const SimReport first = Simulate({.seed = 7});
  const SimReport second = Simulate({.seed = 7});
  EXPECT_EQ(first.counts.writes, second.counts.writes);
  EXPECT_EQ(first.counts.transactions, second.counts.transactions);
  EXPECT_EQ(first.counts.failures_recorded, second.counts.failures_recorded);
}

/// With one rule left out, some seed must break a promise: else the simulator would not see the
/// engine break it either.
class CheckerTest : public testing::TestWithParam<Flaw> {};

TEST_P(CheckerTest, FindsTheRuleThatWasLeftOut) {
  constexpr uint64_t kRunsMax = 3000;
  for (uint64_t seed = 1; seed <= kRunsMax; ++seed) {
    const SimReport report = Simulate({.seed = seed, .flaw = GetParam()});
    if (report.violations.empty()) continue;
    RecordProperty("seed", std::to_string(seed));
    RecordProperty("violation", report.violations.front());
    return;
  }
  FAIL() << "no violation in " << kRunsMax << " runs";
}

std::string FlawName(const testing::TestParamInfo<Flaw>& info) {
  switch (info.param) {
    case Flaw::kNone: break;
    case Flaw::kNoVersionGuard: return "NoVersionGuard";
    case Flaw::kWindowInPieces: return "WindowInPieces";
    case Flaw::kUndoOfOneVersion: return "UndoOfOneVersion";
    case Flaw::kParkedEventsReadAgain: return "ParkedEventsReadAgain";
    case Flaw::kParkedImageAlwaysHandedOn: return "ParkedImageAlwaysHandedOn";
  }
  return "None";
}

INSTANTIATE_TEST_SUITE_P(Flaws, CheckerTest,
                         testing::Values(Flaw::kNoVersionGuard, Flaw::kWindowInPieces,
                                         Flaw::kUndoOfOneVersion, Flaw::kParkedEventsReadAgain,
                                         Flaw::kParkedImageAlwaysHandedOn),
                         FlawName);

}  // namespace
}  // namespace apex::sim
