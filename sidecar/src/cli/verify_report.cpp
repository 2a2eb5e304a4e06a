#include "cli/verify_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace apex::cli {
namespace {

using nlohmann::json;
using verify::Difference;
using verify::Kind;
using verify::StoreReport;
using verify::TableReport;

/// Of each list; the JSON has all.
constexpr size_t kShownMax = 20;

int64_t Count(const StoreReport& store, Kind kind) {
  return std::ranges::count(store.differences, kind, &Difference::kind);
}

std::string NameOf(const Difference& difference) {
  return difference.held.key.value_or(difference.held.name);
}

void AppendLine(const TableReport& table, const StoreReport& store, size_t width,
                std::string& text) {
  text += fmt::format("{:<{}}  {:<6}  {:>9}  {:>9}  {:>7}  {:>7}  {:>7}  {:>7}  {:>5}\n",
                      table.mapping->table, width, Name(store.store), store.rows_expected,
                      store.rows_held, Count(store, Kind::kMissing), Count(store, Kind::kStale),
                      Count(store, Kind::kExtra), table.parked.size(), store.stubs.size());
}

void AppendDifferences(const TableReport& table, const StoreReport& store, std::string& text) {
  size_t shown = 0;
  for (const Difference& difference : store.differences) {
    if (++shown > kShownMax) break;
    text += fmt::format("\n  {} in {}: {} {}\n", Name(difference.kind), Name(store.store),
                        table.mapping->table, NameOf(difference));
    for (const std::string& detail : difference.details) text += "    " + detail + "\n";
  }
  const int64_t more = static_cast<int64_t>(store.differences.size()) + store.not_looked_at -
                       static_cast<int64_t>(std::min(shown, kShownMax));
  if (more > 0) {
    text +=
        fmt::format("\n  {} more in {} of {}{}\n", more, Name(store.store), table.mapping->table,
                    store.not_looked_at > 0 ? ", of which some may be none" : "");
  }
  if (store.busy > 0) {
    text += fmt::format("\n  {} of {} in {} were written at every look and could not be compared\n",
                        store.busy == 1 ? "1 row" : fmt::format("{} rows", store.busy),
                        table.mapping->table, Name(store.store));
  }
}

template <typename List>
void AppendList(std::string_view what, const List& list, std::string& text) {
  if (list.empty()) return;
  text += fmt::format("\n  {}:\n", what);
  size_t shown = 0;
  for (const std::string& item : list) {
    if (++shown > kShownMax) {
      text += fmt::format("    and {} more\n", list.size() - kShownMax);
      return;
    }
    text += "    " + item + "\n";
  }
}

json ToJson(const StoreReport& store) {
  json differences = json::array();
  for (const Difference& difference : store.differences) {
    differences.push_back(
        {{"kind", Name(difference.kind)},
         {"key", difference.held.key ? json::parse(*difference.held.key, nullptr,
                                                   /*allow_exceptions=*/false)
                                     : json()},
         {"name", difference.held.name},
         {"version", difference.held.version ? json(*difference.held.version) : json()},
         {"details", difference.details}});
  }
  return {{"store", Name(store.store)},
          {"rows_expected", store.rows_expected},
          {"rows_held", store.rows_held},
          {"missing", Count(store, Kind::kMissing)},
          {"stale", Count(store, Kind::kStale)},
          {"extra", Count(store, Kind::kExtra)},
          {"differences", std::move(differences)},
          {"not_looked_at", store.not_looked_at},
          {"busy", store.busy},
          {"stubs", store.stubs}};
}

}  // namespace

bool AllEqual(const std::vector<TableReport>& reports) {
  return std::ranges::all_of(reports, &TableReport::equal);
}

std::string ShowReports(const std::vector<TableReport>& reports) {
  size_t width = std::string_view("table").size();
  for (const TableReport& table : reports) width = std::max(width, table.mapping->table.size());
  std::string text =
      fmt::format("{:<{}}  {:<6}  {:>9}  {:>9}  {:>7}  {:>7}  {:>7}  {:>7}  {:>5}\n", "table",
                  width, "store", "rows", "held", "missing", "stale", "extra", "parked", "stubs");
  for (const TableReport& table : reports) {
    for (const StoreReport& store : table.stores) AppendLine(table, store, width, text);
  }
  for (const TableReport& table : reports) {
    for (const StoreReport& store : table.stores) AppendDifferences(table, store, text);
    AppendList("rows of " + table.mapping->table + " in failed sagas, not compared", table.parked,
               text);
    AppendList("rows of " + table.mapping->table + " that cannot be sent", table.unencodable, text);
    for (const StoreReport& store : table.stores) {
      AppendList(fmt::format("stubs of {} in {}, which only relationships speak of",
                             table.mapping->table, Name(store.store)),
                 store.stubs, text);
    }
  }
  text += AllEqual(reports) ? "\nevery store agrees with PostgreSQL\n"
                            : "\nthe stores differ from PostgreSQL; `apex repair` mends them\n";
  return text;
}

std::string ReportsAsJson(const std::vector<TableReport>& reports) {
  json tables = json::array();
  for (const TableReport& table : reports) {
    json stores = json::array();
    for (const StoreReport& store : table.stores) stores.push_back(ToJson(store));
    json parked = json::array();
    for (const std::string& key : table.parked)
      parked.push_back(json::parse(key, nullptr, /*allow_exceptions=*/false));
    tables.push_back({{"table", table.mapping->table},
                      {"rows", table.rows},
                      {"stores", std::move(stores)},
                      {"parked", std::move(parked)},
                      {"unencodable", table.unencodable}});
  }
  const json all = {{"equal", AllEqual(reports)}, {"tables", std::move(tables)}};
  return all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string ShowPlan(const TableReport& report, const verify::RepairPlan& plan) {
  std::string text;
  if (!plan.refreshes.empty()) {
    AppendList(fmt::format("{} of {} to send as they are now", plan.refreshes.size(),
                           report.mapping->table),
               plan.refreshes, text);
  }
  for (const auto& [store, removals] : plan.removals) {
    std::vector<std::string> keys;
    for (const RowUndo& removal : removals)
      keys.push_back(fmt::format("{} of version {}", removal.row.key, removal.failed_seq));
    AppendList(
        fmt::format("{} of {} to delete in {}", keys.size(), report.mapping->table, Name(store)),
        keys, text);
  }
  AppendList("not mended", plan.not_mended, text);
  return text;
}

}  // namespace apex::cli
