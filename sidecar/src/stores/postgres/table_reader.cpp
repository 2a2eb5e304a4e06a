#include "stores/postgres/table_reader.h"

#include <memory>
#include <utility>

#include "stores/postgres/changes.h"

namespace apex::postgres {
namespace {

constexpr const char* kPageRowsMax = "1000";

constexpr const char* kReadPage =
    "SELECT at_part, key::text, image::text, embedding, error, stamp"
    " FROM apex.verify_page($1::oid::regclass, $2::oid, $3::jsonb, $4)";
constexpr const char* kReadThese =
    "SELECT at_part, key::text, image::text, embedding, error, stamp"
    " FROM apex.verify_rows($1::oid::regclass, $2::jsonb)";

std::string ToArray(const std::vector<std::string>& keys) {
  std::string array = "[";
  for (const std::string& key : keys) {
    if (array.size() > 1) array += ',';
    array += key;
  }
  return array + "]";
}

std::vector<TableRow> ParseRows(const MappingPtr& mapping, const Rows& rows) {
  std::vector<TableRow> list;
  list.reserve(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) {
    auto change = std::make_shared<Change>();
    change->op = Operation::kRefresh;
    change->mapping = mapping;
    change->row = {mapping->relation, CompactJson(rows.Bytes(i, 1))};
    change->aggregate = change->row;
    change->after = rows.TextIfAny(i, 2);
    change->embedding = rows.TextIfAny(i, 3);
    change->capture_error = rows.Text(i, 4);
    list.push_back({std::move(change), rows.Text(i, 5)});
  }
  return list;
}

}  // namespace

TableReader::TableReader(AdminOptions options)
    : session_({std::move(options.dsn), std::move(options.password), "apex verify",
                /*to_primary=*/true}) {}

Result<std::vector<TableRow>> TableReader::ReadPage(const MappingPtr& mapping, TablePlace& place,
                                                    Deadline deadline) {
  Session::Parameter part;
  Session::Parameter key;
  if (place.part) {
    part = std::to_string(*place.part);
    key = place.key;
  }
  Result<Rows> rows =
      session_.Query("read table", kReadPage,
                     {std::to_string(mapping->relation), part, key, kPageRowsMax}, deadline);
  if (!rows.ok()) return rows.error();
  if (rows->size() > 0) {
    place = {rows->Oid(rows->size() - 1, 0), rows->Text(rows->size() - 1, 1)};
  }
  return ParseRows(mapping, *rows);
}

Result<std::vector<TableRow>> TableReader::ReadThese(const MappingPtr& mapping,
                                                     const std::vector<std::string>& keys,
                                                     Deadline deadline) {
  Result<Rows> rows = session_.Query("read rows", kReadThese,
                                     {std::to_string(mapping->relation), ToArray(keys)}, deadline);
  if (!rows.ok()) return rows.error();
  return ParseRows(mapping, *rows);
}

Result<std::set<std::string>> TableReader::ReadParked(const TableMapping& mapping,
                                                      Deadline deadline) {
  Result<Rows> rows = session_.Query(
      "read parked rows", "SELECT key::text FROM apex.saga_row WHERE relation = $1::oid::regclass",
      {std::to_string(mapping.relation)}, deadline);
  if (!rows.ok()) return rows.error();
  std::set<std::string> keys;
  for (int i = 0; i < rows->size(); ++i) keys.insert(CompactJson(rows->Bytes(i, 0)));
  return keys;
}

Result<int64_t> TableReader::NewestVersion(Deadline deadline) {
  Result<Rows> rows =
      session_.Query("read version", "SELECT last_value FROM apex.outbox_seq", {}, deadline);
  if (!rows.ok()) return rows.error();
  return rows->Int(0, 0);
}

Result<std::vector<std::string>> TableReader::Refresh(const TableMapping& mapping,
                                                      const std::vector<std::string>& keys,
                                                      Deadline deadline) {
  Result<Rows> rows = session_.Query(
      "refresh", "SELECT held::text FROM apex.refresh_rows($1::oid::regclass, $2::jsonb) held",
      {std::to_string(mapping.relation), ToArray(keys)}, deadline);
  if (!rows.ok()) return rows.error();
  std::vector<std::string> held;
  held.reserve(static_cast<size_t>(rows->size()));
  for (int i = 0; i < rows->size(); ++i) held.push_back(CompactJson(rows->Bytes(i, 0)));
  return held;
}

}  // namespace apex::postgres
