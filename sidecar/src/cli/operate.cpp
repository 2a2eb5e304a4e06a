// status, retry and discard: one question to PostgreSQL, or to the cache, each.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/cache.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/stores.h"

namespace apex::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kTimeout{10};

Deadline ByTimeout() { return Deadline::After(kTimeout); }

std::string Shown(const json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string Seconds(const json& value) {
  return value.is_number() ? fmt::format("{:.1f} s", value.get<double>()) : "-";
}

std::string Backlog(const json& pipeline) {
  const auto changes = pipeline["backlog"].get<int64_t>();
  if (changes == 0) return "none";
  return fmt::format("{} change{}, the oldest {} old", changes, changes == 1 ? "" : "s",
                     Seconds(pipeline["oldest_event_age_seconds"]));
}

void PrintPipeline(const json& pipeline) {
  std::cout << fmt::format("pipeline {}\n", Shown(pipeline["pipeline"]));
  if (pipeline["leader"].is_null()) {
    std::cout << "  leader     none\n";
  } else {
    std::cout << fmt::format("  leader     {}, epoch {}, last heartbeat {} ago\n",
                             Shown(pipeline["leader"]), Shown(pipeline["epoch"]),
                             Seconds(pipeline["heartbeat_age_seconds"]));
  }
  std::cout << fmt::format("  backlog    {}\n", Backlog(pipeline));
  std::cout << fmt::format(
      "  sagas      {} compensating, {} parked, {} with a failed compensation\n",
      Shown(pipeline["compensating"]), Shown(pipeline["parked"]),
      Shown(pipeline["compensation_failed"]));
  const auto tables = pipeline["tables"].get<std::vector<std::string>>();
  std::cout << fmt::format("  tables     {}\n",
                           tables.empty() ? "none" : fmt::format("{}", fmt::join(tables, ", ")));
}

void PrintFailed(const json& failed) {
  if (failed.empty()) {
    std::cout << "\nno failed sagas\n";
    return;
  }
  std::cout << "\n" << failed.size() << " failed saga" << (failed.size() == 1 ? "" : "s") << "\n";
  for (const json& saga : failed) {
    std::cout << fmt::format("\n  {}  {}\n    {} {}\n    {}: {}\n", Shown(saga["id"]),
                             Shown(saga["state"]), Shown(saga["relation"]), Shown(saga["key"]),
                             Shown(saga["failed_step"]), Shown(saga["error"]));
  }
  std::cout << "\nMend the row with an UPDATE, or `apex retry ID` to send it as it is, or `apex "
               "discard ID` to forget it.\n";
}

}  // namespace

int ShowStatus(const config::Config& config, bool as_json) {
  postgres::Admin admin(AdminOptionsFrom(config));
  Result<std::string> status = admin.Status(ByTimeout());
  if (!status.ok()) return Complain(status.error());
  Result<std::string> failed = admin.FailedSagas(ByTimeout());
  if (!failed.ok()) return Complain(failed.error());
  json both = {{"status", json::parse(*status)}, {"failed_sagas", json::parse(*failed)}};
  if (as_json) {
    std::cout << both.dump(2) << "\n";
    return kSuccess;
  }
  for (const json& pipeline : both["status"]["pipelines"]) PrintPipeline(pipeline);
  PrintFailed(both["failed_sagas"]);
  return kSuccess;
}

int ShowCache(const config::Config& config, bool as_json) {
  if (!config.redis) {
    std::cerr << "apex: there is no cache: redis.uri (APEX_REDIS_URI) is not configured\n";
    return kUsage;
  }
  Result<redis::CacheStatistics> found = AskCache(*config.redis, ByTimeout());
  if (!found.ok()) return Complain(found.error());
  if (as_json) {
    std::cout << json::parse(ToJson(*found)).dump(2) << "\n";
    return kSuccess;
  }
  const std::string limit =
      found->memory_limit_bytes == 0
          ? "no limit"
          : fmt::format("of {}, then {}", found->memory_limit_bytes, found->eviction_policy);
  const std::string keys_max =
      found->keys_max == 0 ? "" : fmt::format(", none are added beyond {}", found->keys_max);
  std::cout << fmt::format("keys         {}{}\n", found->total_keys, keys_max)
            << fmt::format("memory       {} bytes, {}\n", found->memory_usage_bytes, limit)
            << fmt::format("hits         {}\n", found->keyspace_hits)
            << fmt::format("misses       {}\n", found->keyspace_misses)
            << fmt::format("hit rate     {:.2f} %\n", found->hit_rate())
            << fmt::format("evictions    {}\n", found->evictions)
            << fmt::format("expirations  {}\n", found->expirations);
  return kSuccess;
}

int Retry(const config::Config& config, const std::string& saga) {
  postgres::Admin admin(AdminOptionsFrom(config));
  if (Status status = admin.Retry(saga, ByTimeout()); !status.ok()) return Complain(status.error());
  std::cout << "the rows of saga " << saga << " are on their way again, as they are now\n";
  return kSuccess;
}

int Discard(const config::Config& config, const std::string& saga) {
  postgres::Admin admin(AdminOptionsFrom(config));
  if (Status status = admin.Discard(saga, ByTimeout()); !status.ok())
    return Complain(status.error());
  std::cout << "saga " << saga << " is forgotten; the stores keep what they had accepted\n";
  return kSuccess;
}

}  // namespace apex::cli
