// `apex backfill`: begins it, then watches what the leader makes of it.
#include "cli/backfill.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "cli/app.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/progress.h"
#include "cli/stores.h"

namespace apex::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kTimeout{10};
constexpr std::chrono::milliseconds kLookInterval{200};

Deadline ByTimeout() { return Deadline::After(kTimeout); }

// NOLINTNEXTLINE(bugprone-exception-escape): by its type a json may throw where it never does
struct Progress {
  bool is_led = false;
  json backfill;  ///< As apex.status() has it; null: it was given up meanwhile.
};

Progress FindProgress(const json& status, const TableMapping& table) {
  Progress progress;
  for (const json& pipeline : status["pipelines"]) {
    if (pipeline["pipeline"] != table.pipeline) continue;
    progress.is_led = !pipeline["leader"].is_null();
    for (const json& backfill : pipeline["backfills"]) {
      if (backfill["table"] == table.table) progress.backfill = backfill;
    }
  }
  return progress;
}

std::string Bar(const json& backfill) {
  const auto sent = backfill["rows_sent"].get<int64_t>();
  const auto held = backfill["rows_held"].get<int64_t>();
  const std::string aside = held > 0 ? fmt::format(", {} locked and put aside", held) : "";
  if (!backfill["rows_expected"].is_number()) return fmt::format("{} rows{}", sent, aside);
  return ProgressBar(sent, std::max(backfill["rows_expected"].get<int64_t>(), sent)) + aside;
}

}  // namespace

Result<std::optional<int64_t>> WatchBackfill(postgres::Admin& admin, const TableMapping& table) {
  ProgressLine line;
  bool warned = false;
  while (true) {
    Result<std::string> status = admin.Status(ByTimeout());
    if (!status.ok()) return status.error();
    const Progress progress = FindProgress(json::parse(*status), table);
    if (progress.backfill.is_null()) {
      line.End();
      return std::optional<int64_t>();
    }
    line.Show(Bar(progress.backfill));
    if (!progress.backfill["finished_at"].is_null()) {
      line.End();
      return std::optional(progress.backfill["rows_sent"].get<int64_t>());
    }
    if (!progress.is_led && !std::exchange(warned, true)) {
      std::cerr << "apex: nobody leads pipeline " << table.pipeline
                << ": it begins when `apex run` does\n";
    }
    std::this_thread::sleep_for(kLookInterval);
  }
}

Status AwaitSynced(postgres::Admin& admin) {
  Result<std::string> position = admin.Position(ByTimeout());
  if (!position.ok()) return position.error();
  while (true) {
    Result<std::string> waited = admin.WaitSynced(*position, ByTimeout());
    if (!waited.ok()) return waited.error();
    if (*waited != "timeout") return {};
  }
}

int Backfill(const config::Config& config, const std::string& table,
             std::optional<int64_t> rows_per_second) {
  postgres::Admin admin(AdminOptionsFrom(config));
  Result<std::vector<TableMapping>> mappings = admin.LoadMappings(ByTimeout());
  if (!mappings.ok()) return Complain(mappings.error());
  const auto found = FindTable(*mappings, table);
  if (const auto* why = std::get_if<std::string>(&found)) {
    std::cerr << "apex: " << *why << "\n";
    return kUsage;
  }
  const TableMapping& mapping = *std::get<MappingPtr>(found);
  if (Status started = admin.StartBackfill(mapping.relation, rows_per_second, ByTimeout());
      !started.ok()) {
    return Complain(started.error());
  }
  Result<std::optional<int64_t>> sent = WatchBackfill(admin, mapping);
  if (!sent.ok()) return Complain(sent.error());
  if (!*sent) {
    std::cerr << "apex: table " << mapping.table << " was detached meanwhile\n";
    return kFailure;
  }
  if (Status synced = AwaitSynced(admin); !synced.ok()) return Complain(synced.error());
  std::cout << fmt::format("{} row{} of {} sent, and settled in every store\n", **sent,
                           **sent == 1 ? "" : "s", mapping.table);
  return kSuccess;
}

}  // namespace apex::cli
