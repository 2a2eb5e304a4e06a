// `apex verify` and `apex repair`.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cli/app.h"
#include "cli/backfill.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/stores.h"
#include "cli/verify_report.h"
#include "cli/verify_rows.h"
#include "verify/repairer.h"
#include "verify/verifier.h"

namespace apex::cli {
namespace {

using verify::TableReport;

constexpr std::chrono::seconds kTimeout{10};
/// A repair is verified; what is left is repaired again so many times.
constexpr int kRepairsMax = 3;

Deadline ByTimeout() { return Deadline::After(kTimeout); }

/// All that the two commands need, opened. Owns the connections.
class Session {
 public:
  /// Prints what is wrong; then there is no session, and the number is the exit code.
  static std::variant<std::unique_ptr<Session>, int> Open(const config::Config& config,
                                                          const std::vector<std::string>& tables) {
    auto readers = OpenReaders(config);
    auto stores = Stores::Open(config);
    for (const auto* error :
         {std::get_if<config::ConfigError>(&readers), std::get_if<config::ConfigError>(&stores)}) {
      if (error == nullptr) continue;
      std::cerr << "apex: " << error->message << "\n";
      return kUsage;
    }
    std::unique_ptr<Session> session(
        new Session(config, std::get<0>(std::move(readers)), std::get<Stores>(std::move(stores))));
    if (const int code = session->FindMappings(config.engine.pipeline, tables); code != kSuccess)
      return code;
    return session;
  }

  Result<std::vector<TableReport>> VerifyAll() {
    std::vector<TableReport> reports;
    for (const MappingPtr& mapping : mappings_) {
      Result<TableReport> report = verifier_.Verify(mapping);
      if (!report.ok()) return report.error();
      reports.push_back(*std::move(report));
    }
    return reports;
  }

  /// Mends one table as far as it can.
  Status Mend(const TableReport& report) {
    const bool too_many = std::ranges::any_of(
        report.stores, [](const auto& store) { return store.not_looked_at > 0; });
    if (too_many) {
      const TableMapping& table = *report.mapping;
      std::cout << "so many rows of " << table.table << " differ that all of them are sent\n";
      if (Status started = admin_.StartBackfill(table.relation, std::nullopt, ByTimeout());
          !started.ok()) {
        return started;
      }
      if (auto watched = WatchBackfill(admin_, table); !watched.ok()) return watched.error();
    }
    Result<int64_t> epoch = admin_.Epoch(report.mapping->pipeline, ByTimeout());
    if (!epoch.ok()) return epoch.error();
    verify::Repairer repairer(rows_, stores_.targets(), {report.mapping->pipeline, *epoch});
    return repairer.Carry(report.mapping, verify::PlanRepair(report));
  }

  Status AwaitArrival() { return rows_.WaitSynced(); }

 private:
  Session(const config::Config& config, std::vector<std::unique_ptr<StoreReader>> readers,
          Stores stores)
      : admin_(AdminOptionsFrom(config)),
        rows_(AdminOptionsFrom(config), admin_),
        readers_(std::move(readers)),
        stores_(std::move(stores)),
        verifier_(rows_, Pointers(readers_)) {}

  static std::vector<StoreReader*> Pointers(
      const std::vector<std::unique_ptr<StoreReader>>& readers) {
    std::vector<StoreReader*> pointers;
    for (const auto& reader : readers) pointers.push_back(reader.get());
    return pointers;
  }

  int FindMappings(const std::string& pipeline, const std::vector<std::string>& tables) {
    Result<std::vector<TableMapping>> loaded = admin_.LoadMappings(ByTimeout());
    if (!loaded.ok()) return Complain(loaded.error());
    for (const std::string& table : tables) {
      auto found = FindTable(*loaded, table);
      if (const auto* why = std::get_if<std::string>(&found)) {
        std::cerr << "apex: " << *why << "\n";
        return kUsage;
      }
      mappings_.push_back(std::get<MappingPtr>(found));
    }
    for (TableMapping& mapping : *loaded) {
      if (tables.empty() && mapping.active && mapping.pipeline == pipeline)
        mappings_.push_back(std::make_shared<const TableMapping>(std::move(mapping)));
    }
    return CheckStores();
  }

  /// A table cannot be called equal while a store that it is mapped to is not looked at.
  int CheckStores() {
    const std::map<Store, TargetStore*> targets = stores_.targets();
    for (const MappingPtr& mapping : mappings_) {
      for (const auto& [store, needed] : {std::pair(Store::kNeo4j, mapping->node || mapping->edge),
                                          std::pair(Store::kQdrant, mapping->vector.has_value()),
                                          std::pair(Store::kRedis, mapping->cache.has_value())}) {
        if (!needed || targets.contains(store)) continue;
        std::cerr << fmt::format(
            "apex: table {} is mapped to {}, which is not configured: set "
            "{}.uri\n",
            mapping->table, Name(store), Name(store));
        return kUsage;
      }
    }
    return kSuccess;
  }

  postgres::Admin admin_;
  PostgresRows rows_;
  std::vector<std::unique_ptr<StoreReader>> readers_;
  Stores stores_;
  verify::Verifier verifier_;
  std::vector<MappingPtr> mappings_;
};

bool AllEqual(const std::vector<TableReport>& reports) {
  return std::ranges::all_of(reports, &TableReport::equal);
}

int ShowPlans(const std::vector<TableReport>& reports) {
  for (const TableReport& report : reports) {
    if (!report.equal()) std::cout << ShowPlan(report, verify::PlanRepair(report));
  }
  return kFailure;
}

}  // namespace

int Verify(const config::Config& config, const std::vector<std::string>& tables, bool json) {
  auto opened = Session::Open(config, tables);
  if (const int* code = std::get_if<int>(&opened)) return *code;
  Result<std::vector<TableReport>> reports =
      std::get<std::unique_ptr<Session>>(opened)->VerifyAll();
  if (!reports.ok()) return Complain(reports.error());
  std::cout << (json ? ReportsAsJson(*reports) : ShowReports(*reports));
  return AllEqual(*reports) ? kSuccess : kFailure;
}

int Repair(const config::Config& config, const std::vector<std::string>& tables, bool dry_run) {
  auto opened = Session::Open(config, tables);
  if (const int* code = std::get_if<int>(&opened)) return *code;
  Session& session = *std::get<std::unique_ptr<Session>>(opened);
  for (int repairs = 0;; ++repairs) {
    Result<std::vector<TableReport>> reports = session.VerifyAll();
    if (!reports.ok()) return Complain(reports.error());
    std::cout << ShowReports(*reports);
    if (AllEqual(*reports)) return kSuccess;
    if (dry_run) return ShowPlans(*reports);
    if (repairs == kRepairsMax) return kFailure;
    for (const TableReport& report : *reports) {
      if (report.equal()) continue;
      std::cout << ShowPlan(report, verify::PlanRepair(report));
      if (Status mended = session.Mend(report); !mended.ok()) return Complain(mended.error());
    }
    if (Status arrived = session.AwaitArrival(); !arrived.ok()) return Complain(arrived.error());
    std::cout << "\nmended; verifying again\n\n";
  }
}

}  // namespace apex::cli
