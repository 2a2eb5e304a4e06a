// `apex warm`: puts rows into the cache before anybody asks for them.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cache/read_through.h"
#include "cli/app.h"
#include "cli/cache.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/progress.h"
#include "cli/stores.h"
#include "stores/postgres/table_reader.h"

namespace apex::cli {
namespace {

using Keys = std::vector<std::vector<std::string>>;

constexpr std::chrono::seconds kTimeout{10};
/// The condition is the user's, and so is the time that it takes.
constexpr std::chrono::minutes kSelectTimeout{10};

std::vector<std::string> Texts(const std::string& json_key) {
  std::vector<std::string> texts;
  for (const auto& part : nlohmann::json::parse(json_key))
    texts.push_back(part.is_string() ? part.get<std::string>() : part.dump());
  return texts;
}

/// The first rows in key order.
Result<Keys> FirstKeys(const config::Config& config, const MappingPtr& mapping, size_t limit) {
  postgres::TableReader reader(AdminOptionsFrom(config));
  postgres::TablePlace place;
  Keys keys;
  while (keys.size() < limit) {
    auto page = reader.ReadPage(mapping, place, Deadline::After(kTimeout));
    if (!page.ok()) return page.error();
    if (page->empty()) break;
    for (const TableRow& row : *page) {
      if (keys.size() < limit) keys.push_back(Texts(row.row->row.key));
    }
  }
  return keys;
}

std::string QuoteIdentifier(const std::string& name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += c;
    quoted += c;
  }
  return quoted + "\"";
}

/// The rows for which a condition holds, asked with the rights of the configured role, which has to
/// be able to read the table. Nothing can be changed by it: one statement in a transaction that
/// only reads.
Result<Keys> SelectKeys(const config::Config& config, const TableMapping& mapping,
                        const std::string& where, size_t limit) {
  postgres::Session session({.dsn = config.postgres.dsn,
                             .password = config.postgres.password,
                             .application_name = "apex warm",
                             .to_primary = true});
  const Deadline deadline = Deadline::After(kSelectTimeout);
  auto named = session.Query("warm",
                             "SELECT $1::oid::regclass::text, "
                             "set_config('default_transaction_read_only', 'on', false)",
                             {std::to_string(mapping.relation)}, deadline);
  if (!named.ok()) return named.error();
  std::string columns;
  for (const Column& column : mapping.key)
    columns += (columns.empty() ? "" : ", ") + QuoteIdentifier(column.name) + "::text";
  const std::string sql = fmt::format("SELECT ARRAY[{}] FROM {} WHERE ({}\n) LIMIT {}", columns,
                                      named->Text(0, 0), where, limit);
  auto rows = session.Query("warm", sql.c_str(), {}, deadline);
  if (!rows.ok()) return rows.error();
  Keys keys;
  for (int i = 0; i < rows->size(); ++i) keys.push_back(rows->Texts(i, 0));
  return keys;
}

}  // namespace

int Warm(const config::Config& config, const WarmOptions& options) {
  if (!config.redis) {
    std::cerr << "apex: there is no cache: redis.uri (APEX_REDIS_URI) is not configured\n";
    return kUsage;
  }
  postgres::Admin admin(AdminOptionsFrom(config));
  Result<std::vector<TableMapping>> mappings = admin.LoadMappings(Deadline::After(kTimeout));
  if (!mappings.ok()) return Complain(mappings.error());
  const auto found = FindTable(*mappings, options.table);
  if (const auto* why = std::get_if<std::string>(&found)) {
    std::cerr << "apex: " << *why << "\n";
    return kUsage;
  }
  const MappingPtr& mapping = std::get<MappingPtr>(found);
  if (!mapping->cache || mapping->cache->entry.empty()) {
    std::cerr << "apex: table " << mapping->table << " has no cache entries to warm\n";
    return kUsage;
  }
  if (mapping->pipeline != config.engine.pipeline) {
    std::cerr << "apex: table " << mapping->table << " is in pipeline " << mapping->pipeline
              << ": give --pipeline\n";
    return kUsage;
  }
  const auto limit = static_cast<size_t>(options.limit);
  Result<Keys> keys = options.where ? SelectKeys(config, *mapping, *options.where, limit)
                                    : FirstKeys(config, mapping, limit);
  if (!keys.ok()) return Complain(keys.error());

  Metrics metrics;
  const std::unique_ptr<CacheService> cache = CacheService::Open(config, metrics);
  const ProgressLine line;
  const auto start = std::chrono::steady_clock::now();
  const auto expected = static_cast<int64_t>(keys->size());
  int64_t there = 0;
  int64_t filled = 0;
  for (int64_t i = 0; i < expected; ++i) {
    if (options.rows_per_second) {
      std::this_thread::sleep_until(
          start + std::chrono::microseconds(1'000'000 * i / *options.rows_per_second));
    }
    const http::CachedRow row = cache->Row(mapping->cache->entity, (*keys)[static_cast<size_t>(i)]);
    if (row.status == 400 || row.status == 503) {
      line.End();
      std::cerr << "apex: " << row.text << "\n";
      return kFailure;
    }
    // One that was deleted meanwhile is neither.
    if (row.status == 200) ++(row.source == "HIT" ? there : filled);
    line.Show(ProgressBar(i + 1, expected));
  }
  line.End();
  std::cout << fmt::format("{} row{} of {} read into the cache, {} were there\n", filled,
                           filled == 1 ? "" : "s", mapping->table, there);
  return kSuccess;
}

}  // namespace apex::cli
