#include "stores/postgres/row_lookup.h"

#include <memory>
#include <utility>

namespace apex::postgres {
namespace {

/// Enough to keep a server busy with lookups by key, few enough not to be noticed there.
constexpr size_t kSessionsMax = 4;

constexpr const char* kFind =
    "SELECT image::text, error, version FROM apex.cached_row($1::oid::regclass, $2::jsonb)";

}  // namespace

RowLookup::RowLookup(const AdminOptions& options)
    : sessions_(kSessionsMax,
                [options] {
                  return std::make_unique<Session>(ConnectOptions{.dsn = options.dsn,
                                                                  .password = options.password,
                                                                  .application_name = "apex cache",
                                                                  .to_primary = true});
                }),
      admin_(options) {}

Result<std::vector<TableMapping>> RowLookup::LoadMappings(Deadline deadline) {
  const std::lock_guard lock(admin_mutex_);
  return admin_.LoadMappings(deadline);
}

Result<FoundRow> RowLookup::Find(const TableMapping& mapping, const std::string& key,
                                 Deadline deadline) {
  const auto session = sessions_.Borrow(deadline);
  if (!session) {
    return StoreError{Store::kPostgres,
                      "read row",
                      ErrorKind::kTransient,
                      "apex.deadline",
                      "every session is in use up to the deadline",
                      std::nullopt};
  }
  Result<Rows> rows =
      session->Query("read row", kFind, {std::to_string(mapping.relation), key}, deadline);
  if (!rows.ok()) return rows.error();
  return FoundRow{
      .image = rows->TextIfAny(0, 0), .error = rows->Text(0, 1), .version = rows->Int(0, 2)};
}

}  // namespace apex::postgres
