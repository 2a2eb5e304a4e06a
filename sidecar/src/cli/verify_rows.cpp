#include "cli/verify_rows.h"

#include <chrono>
#include <thread>
#include <utility>

namespace apex::cli {
namespace {

/// Of one page or a few rows.
constexpr std::chrono::seconds kTimeout{60};
/// How long a row may be locked by others before a repair gives up.
constexpr std::chrono::seconds kHeldTimeout{60};
constexpr std::chrono::milliseconds kHeldPause{100};

Deadline ByTimeout() { return Deadline::After(kTimeout); }

StoreError Late(std::string message) {
  return {Store::kPostgres, "verify",           ErrorKind::kTransient,
          "apex.late",      std::move(message), std::nullopt};
}

}  // namespace

Status PostgresRows::ReadAll(const MappingPtr& mapping,
                             const std::function<Status(std::vector<TableRow>)>& page) {
  postgres::TablePlace place;
  while (true) {
    auto rows = reader_.ReadPage(mapping, place, ByTimeout());
    if (!rows.ok()) return rows.error();
    if (rows->empty()) return {};
    if (Status status = page(*std::move(rows)); !status.ok()) return status;
  }
}

Result<std::vector<TableRow>> PostgresRows::ReadThese(const MappingPtr& mapping,
                                                      const std::vector<std::string>& keys) {
  return reader_.ReadThese(mapping, keys, ByTimeout());
}

Result<std::set<std::string>> PostgresRows::ReadParked(const MappingPtr& mapping) {
  return reader_.ReadParked(*mapping, ByTimeout());
}

Result<int64_t> PostgresRows::NewestVersion() { return reader_.NewestVersion(ByTimeout()); }

Status PostgresRows::WaitSynced() {
  Result<std::string> position = admin_.Position(ByTimeout());
  if (!position.ok()) return position.error();
  Result<std::string> waited = admin_.WaitSynced(*position, Deadline::After(sync_patience_));
  if (!waited.ok()) return waited.error();
  if (*waited != "timeout") return {};
  return Late("changes wait to be delivered: is `apex run` running, and are the stores up?");
}

Status PostgresRows::Refresh(const MappingPtr& mapping, const std::vector<std::string>& keys) {
  std::vector<std::string> left = keys;
  const Deadline deadline = Deadline::After(kHeldTimeout);
  while (true) {
    auto held = reader_.Refresh(*mapping, left, ByTimeout());
    if (!held.ok()) return held.error();
    if (held->empty()) return {};
    if (deadline.expired()) {
      return Late("row " + held->front() + " of " + mapping->table +
                  " stays locked by another transaction");
    }
    left = *std::move(held);
    std::this_thread::sleep_for(kHeldPause);
  }
}

}  // namespace apex::cli
