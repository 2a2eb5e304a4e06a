#include "metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/version.h"

namespace apex {
namespace {

using testing::HasSubstr;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The exposition as series -> value.
std::map<std::string, double> Samples(const Metrics& metrics) {
  std::map<std::string, double> samples;
  for (const std::string& line : Lines(metrics.Render())) {
    if (line.empty() || line.front() == '#') continue;
    const size_t space = line.rfind(' ');
    samples[line.substr(0, space)] = std::stod(line.substr(space + 1));
  }
  return samples;
}

/// What a dashboard depends on: types, and every series with its labels but without its value or
/// the release.
std::string Names(const Metrics& metrics) {
  std::set<std::string> names;
  for (const std::string& line : Lines(metrics.Render())) {
    if (line.starts_with("# TYPE ")) names.insert(line);
    if (line.empty() || line.front() == '#') continue;
    std::string series = line.substr(0, line.rfind(' '));
    if (const size_t at = series.find(kVersion); at != std::string::npos) {
      series.replace(at, std::string_view(kVersion).size(), "*");
    }
    names.insert(series);
  }
  std::string text;
  for (const std::string& name : names) text.append(name).append("\n");
  return text;
}

TEST(MetricsTest, NamesTypesAndLabelsAreThoseOfTheGoldenFile) {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "golden_names.txt";
  Metrics metrics;
  for (Store store : {Store::kPostgres, Store::kNeo4j, Store::kQdrant, Store::kRedis}) {
    metrics.SetStoreUp(store, true);  // Without it the store has no such series.
  }
  const std::string names = Names(metrics);
  if (std::getenv("APEX_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << names;

  std::stringstream golden;
  golden << std::ifstream(path).rdbuf();
  EXPECT_EQ(names, golden.str())
      << "Dashboards and alerts read these names. Where the change is meant, run this test "
         "with APEX_UPDATE_GOLDEN=1 and say so in the CHANGELOG.";
}

TEST(MetricsTest, EverySeriesExistsWithZeroBeforeAnythingHappens) {
  for (const auto& [series, value] : Samples(Metrics())) {
    if (!series.starts_with("apex_build_info")) {
      EXPECT_EQ(value, 0) << series;
    }
  }
}

TEST(MetricsTest, EveryFamilyHasHelpThatEndsInAFullStop) {
  const std::string text = Metrics().Render();
  int types = 0;
  int helps = 0;
  for (const std::string& line : Lines(text)) {
    types += line.starts_with("# TYPE ");
    if (!line.starts_with("# HELP ")) continue;
    ++helps;
    EXPECT_EQ(line.back(), '.') << line;
  }
  EXPECT_GT(types, 0);
  EXPECT_EQ(helps, types);
}

TEST(MetricsTest, CountsWhatItIsTold) {
  Metrics metrics;
  metrics.SagasSettled(true, 3);
  metrics.SagasSettled(false, 2);
  metrics.StepObserved(Store::kNeo4j, 0.07);
  metrics.Compensated("write_qdrant", true);
  metrics.Compensated("write_neo4j", false);
  metrics.SetActiveSagas(7);
  metrics.Failed("write_qdrant", "refused", 2);
  metrics.SetLagSeconds(1.5);
  metrics.SetBacklogRows(11);
  metrics.EndToEndObserved(0.004);
  metrics.BatchObserved(40);
  metrics.SagasSplit(1);
  metrics.SetStoreUp(Store::kRedis, true);
  metrics.SetBreakerOpen(Store::kQdrant, true);
  metrics.Retried(Store::kNeo4j);
  metrics.SetLeader(true, 12);

  auto samples = Samples(metrics);
  const std::map<std::string, double> expected{
      {R"(apex_saga_executions_total{status="success"})", 3},
      {R"(apex_saga_executions_total{status="failed"})", 2},
      {R"(apex_saga_step_duration_seconds_bucket{step_name="write_neo4j",le="0.05"})", 0},
      {R"(apex_saga_step_duration_seconds_bucket{step_name="write_neo4j",le="0.1"})", 1},
      {R"(apex_saga_compensation_total{status="compensated",step_name="write_qdrant"})", 1},
      {R"(apex_saga_compensation_total{status="compensation_failed",step_name="write_neo4j"})", 1},
      {"apex_saga_active_count", 7},
      {R"(apex_saga_failure_reason_total{error_type="refused",failed_step="write_qdrant"})", 2},
      {"apex_lag_seconds", 1.5},
      {"apex_backlog_rows", 11},
      {"apex_end_to_end_seconds_count", 1},
      {"apex_batch_rows_sum", 40},
      {"apex_saga_split_total", 1},
      {R"(apex_store_up{store="redis"})", 1},
      {R"(apex_breaker_open{store="qdrant"})", 1},
      {R"(apex_retries_total{store="neo4j"})", 1},
      {"apex_leader", 1},
      {"apex_epoch", 12},
  };
  for (const auto& [series, value] : expected) {
    ASSERT_TRUE(samples.contains(series)) << series << "\n" << metrics.Render();
    EXPECT_EQ(samples[series], value) << series;
  }
}

TEST(MetricsTest, AStoreThatIsNotUsedIsNotDown) {
  Metrics metrics;
  metrics.SetStoreUp(Store::kNeo4j, false);
  auto samples = Samples(metrics);
  EXPECT_EQ(samples.at(R"(apex_store_up{store="neo4j"})"), 0);
  EXPECT_FALSE(samples.contains(R"(apex_store_up{store="redis"})"));
}

TEST(MetricsTest, AProcessThatLeadsNoLongerSaysNothingOfTheNextLeadersWork) {
  Metrics metrics;
  metrics.SetLeader(true, 3);
  metrics.SetActiveSagas(7);
  metrics.SetLagSeconds(90);
  metrics.SetBacklogRows(11);
  metrics.SetBreakerOpen(Store::kQdrant, true);
  metrics.SetStoreUp(Store::kPostgres, true);
  metrics.SetStoreUp(Store::kQdrant, false);
  metrics.SetLeader(false, 3);
  auto samples = Samples(metrics);
  EXPECT_EQ(samples.at(R"(apex_store_up{store="postgres"})"), 1);
  EXPECT_FALSE(samples.contains(R"(apex_store_up{store="qdrant"})"));
  for (const char* series : {"apex_leader", "apex_saga_active_count", "apex_lag_seconds",
                             "apex_backlog_rows", R"(apex_breaker_open{store="qdrant"})"}) {
    EXPECT_EQ(samples.at(series), 0) << series;
  }
  EXPECT_EQ(samples.at("apex_epoch"), 3);
}

TEST(MetricsTest, KeepsLabelsBoundedWhateverIsPassed) {
  Metrics metrics;
  const size_t before = Samples(metrics).size();
  for (int i = 0; i < 100; ++i) {
    metrics.Failed("step " + std::to_string(i), "type " + std::to_string(i), 1);
    metrics.Compensated("step " + std::to_string(i), true);
  }
  auto samples = Samples(metrics);
  EXPECT_EQ(samples.size(), before);
  EXPECT_EQ(samples[R"(apex_saga_failure_reason_total{error_type="other",failed_step="other"})"],
            100);
}

TEST(MetricsTest, LosesNothingWhenThreadsCountAtOnce) {
  Metrics metrics;
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&metrics] {
      for (int i = 0; i < 1000; ++i) {
        metrics.SagasSettled(true, 1);
        metrics.Failed("write_redis", "gave_up", 1);
        if (i % 100 == 0) {
          EXPECT_THAT(metrics.Render(), HasSubstr("apex_lag_seconds"));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  auto samples = Samples(metrics);
  EXPECT_EQ(samples[R"(apex_saga_executions_total{status="success"})"], 4000);
  EXPECT_EQ(
      samples[R"(apex_saga_failure_reason_total{error_type="gave_up",failed_step="write_redis"})"],
      4000);
}

}  // namespace
}  // namespace apex
