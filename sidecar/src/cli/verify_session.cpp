#include "cli/verify_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <utility>

#include "cli/backfill.h"
#include "cli/complain.h"
#include "cli/verify_report.h"

namespace apex::cli {
namespace {

using verify::TableReport;

constexpr std::chrono::seconds kTimeout{10};
/// How long the stores may be behind.
constexpr std::chrono::seconds kSyncPatience{60};
/// For whom somebody may wait who wants to end the process.
constexpr std::chrono::seconds kSyncPatienceOfStoppable{5};

Deadline ByTimeout() { return Deadline::After(kTimeout); }

std::vector<StoreReader*> Pointers(const std::vector<std::unique_ptr<StoreReader>>& readers) {
  std::vector<StoreReader*> pointers;
  pointers.reserve(readers.size());
  for (const auto& reader : readers) pointers.push_back(reader.get());
  return pointers;
}

}  // namespace

VerifySession::VerifySession(const config::Config& config,
                             std::vector<std::unique_ptr<StoreReader>> readers, Stores stores,
                             const std::atomic<bool>* stop)
    : pipeline_(config.engine.pipeline),
      admin_(AdminOptionsFrom(config)),
      rows_(AdminOptionsFrom(config), admin_,
            stop == nullptr ? kSyncPatience : kSyncPatienceOfStoppable),
      readers_(std::move(readers)),
      stores_(std::move(stores)),
      verifier_(rows_, Pointers(readers_), stop) {}

std::variant<std::unique_ptr<VerifySession>, VerifyRefusal> VerifySession::Open(
    const config::Config& config, const std::vector<std::string>& tables,
    const std::atomic<bool>* stop) {
  auto readers = OpenReaders(config);
  auto stores = Stores::Open(config);
  for (const auto* error :
       {std::get_if<config::ConfigError>(&readers), std::get_if<config::ConfigError>(&stores)}) {
    if (error != nullptr) return VerifyRefusal(*error);
  }
  std::unique_ptr<VerifySession> session(new VerifySession(
      config, std::get<0>(std::move(readers)), std::get<Stores>(std::move(stores)), stop));
  if (std::optional<VerifyRefusal> refusal = session->FindMappings(tables)) {
    return *std::move(refusal);
  }
  return session;
}

Result<std::vector<TableReport>> VerifySession::VerifyAll() {
  // Before anything is read: a history that begins meanwhile has still to be verified.
  std::optional<postgres::Unverified> history;
  if (whole_pipeline_) {
    auto found = admin_.FindUnverified(pipeline_, ByTimeout());
    if (!found.ok()) return found.error();
    history = *std::move(found);
  }
  std::vector<TableReport> reports;
  for (const MappingPtr& mapping : mappings_) {
    Result<TableReport> report = verifier_.Verify(mapping);
    if (!report.ok()) return report.error();
    reports.push_back(*std::move(report));
  }
  if (history && AllEqual(reports)) {
    Status noted = admin_.NoteVerified(pipeline_, history->since, ByTimeout());
    if (!noted.ok()) return noted.error();
  }
  return reports;
}

Status VerifySession::Mend(const TableReport& report) {
  const bool too_many =
      std::ranges::any_of(report.stores, [](const auto& store) { return store.not_looked_at > 0; });
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

std::optional<VerifyRefusal> VerifySession::FindMappings(const std::vector<std::string>& tables) {
  whole_pipeline_ = tables.empty();
  Result<std::vector<TableMapping>> loaded = admin_.LoadMappings(ByTimeout());
  if (!loaded.ok()) return loaded.error();
  for (const std::string& table : tables) {
    auto found = FindTable(*loaded, table);
    if (const auto* why = std::get_if<std::string>(&found)) return config::ConfigError{*why};
    mappings_.push_back(std::get<MappingPtr>(found));
  }
  for (TableMapping& mapping : *loaded) {
    if (whole_pipeline_ && mapping.active && mapping.pipeline == pipeline_)
      mappings_.push_back(std::make_shared<const TableMapping>(std::move(mapping)));
  }
  return CheckStores();
}

/// A table cannot be called equal while a store that it is mapped to is not looked at.
std::optional<VerifyRefusal> VerifySession::CheckStores() const {
  const std::map<Store, TargetStore*> targets = stores_.targets();
  for (const MappingPtr& mapping : mappings_) {
    for (const auto& [store, needed] : {std::pair(Store::kNeo4j, mapping->node || mapping->edge),
                                        std::pair(Store::kQdrant, mapping->vector.has_value()),
                                        std::pair(Store::kRedis, mapping->cache.has_value())}) {
      if (!needed || targets.contains(store)) continue;
      return config::ConfigError{
          fmt::format("table {} is mapped to {}, which is not configured: set {}.uri",
                      mapping->table, Name(store), Name(store))};
    }
  }
  return std::nullopt;
}

}  // namespace apex::cli
