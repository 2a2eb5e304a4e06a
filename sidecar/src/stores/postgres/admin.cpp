#include "stores/postgres/admin.h"

#include <algorithm>
#include <utility>

namespace apex::postgres {
namespace {

constexpr int64_t kAnswerMs = 500;

}  // namespace

Admin::Admin(AdminOptions options)
    : session_({std::move(options.dsn), std::move(options.password), "apex admin",
                /*to_primary=*/false}) {}

Result<Facts> Admin::Examine(Deadline deadline) {
  // The extension defines its settings when it is loaded. This session has called none of its
  // functions, so they are there only if it was preloaded; shared_preload_libraries itself is not
  // for every role to read.
  Result<Rows> rows = session_.Query(
      "examine",
      "SELECT current_setting('server_version'), current_user::text, current_database()::text, "
      "pg_is_in_recovery(),"
      " (SELECT extversion FROM pg_extension WHERE extname = 'apex_saga'),"
      " (SELECT default_version FROM pg_available_extensions WHERE name = 'apex_saga'),"
      " EXISTS (SELECT FROM pg_settings WHERE name = 'apex.traceparent'),"
      " coalesce(has_table_privilege(to_regclass('apex.outbox'), 'SELECT'), false),"
      " coalesce(has_function_privilege(to_regprocedure('apex.lead(text, text, integer)'), "
      "'EXECUTE'), false),"
      " coalesce(has_table_privilege(to_regclass('apex.mapping'), 'SELECT'), false),"
      " pg_backend_pid()",
      {}, deadline);
  if (!rows.ok()) return rows.error();
  Facts facts;
  facts.server_version = rows->Text(0, 0);
  facts.role = rows->Text(0, 1);
  facts.database = rows->Text(0, 2);
  facts.is_standby = rows->Bool(0, 3);
  facts.extension_version = rows->Text(0, 4);
  facts.available_version = rows->Text(0, 5);
  facts.is_preloaded = rows->Bool(0, 6);
  facts.can_read_outbox = rows->Bool(0, 7);
  facts.can_lead = rows->Bool(0, 8);
  facts.can_read_mappings = rows->Bool(0, 9);

  Result<Rows> again = session_.Query("examine", "SELECT pg_backend_pid()", {}, deadline);
  if (!again.ok()) return again.error();
  facts.is_pooled = again->Int(0, 0) != rows->Int(0, 10);
  return facts;
}

Result<std::vector<TableMapping>> Admin::LoadMappings(Deadline deadline) {
  Result<Rows> rows = session_.Query("load mappings",
                                     "SELECT id, relation_oid, pipeline, active, on_failure, "
                                     "spec::text FROM apex.mapping ORDER BY id",
                                     {}, deadline);
  if (!rows.ok()) return rows.error();
  std::vector<TableMapping> list;
  for (int i = 0; i < rows->size(); ++i) {
    Result<TableMapping> parsed =
        ParseMapping(static_cast<int32_t>(rows->Int(i, 0)), rows->Oid(i, 1), rows->Text(i, 2),
                     rows->Bool(i, 3), rows->Text(i, 4), rows->Bytes(i, 5));
    if (!parsed.ok()) return parsed.error();
    list.push_back(std::move(*parsed));
  }
  return list;
}

Result<std::string> Admin::Status(Deadline deadline) {
  return Text("status", "SELECT apex.status()::text", deadline);
}

Result<std::string> Admin::FailedSagas(Deadline deadline) {
  return Text("list failed sagas",
              "SELECT coalesce(jsonb_agg(to_jsonb(f)), '[]')::text FROM apex.failed_sagas f",
              deadline);
}

apex::Status Admin::Retry(const std::string& saga, Deadline deadline) {
  Result<Rows> rows = session_.Query("retry", "SELECT apex.retry($1)", {saga}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

apex::Status Admin::Discard(const std::string& saga, Deadline deadline) {
  Result<Rows> rows = session_.Query("discard", "SELECT apex.discard($1)", {saga}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

apex::Status Admin::StartBackfill(uint32_t relation, std::optional<int64_t> rows_per_second,
                                  Deadline deadline) {
  Session::Parameter rate;
  if (rows_per_second) rate = std::to_string(*rows_per_second);
  Result<Rows> rows = session_.Query("backfill", "SELECT apex.backfill($1::oid::regclass, $2)",
                                     {std::to_string(relation), rate}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

Result<int64_t> Admin::Epoch(const std::string& pipeline, Deadline deadline) {
  Result<Rows> rows = session_.Query(
      "epoch", "SELECT coalesce((SELECT epoch FROM apex.pipeline WHERE name = $1), 0)", {pipeline},
      deadline);
  if (!rows.ok()) return rows.error();
  return rows->Int(0, 0);
}

Result<std::optional<Unverified>> Admin::FindUnverified(const std::string& pipeline,
                                                        Deadline deadline) {
  Result<Rows> rows =
      session_.Query("find unverified",
                     "SELECT p.unverified_since::text, EXISTS (SELECT FROM apex.backfill_progress b"
                     "  WHERE b.pipeline = p.name AND b.finished_at IS NULL"
                     "  AND EXISTS (SELECT FROM pg_class c WHERE c.oid = b.relation))"
                     " FROM apex.pipeline p WHERE p.name = $1 AND p.unverified_since IS NOT NULL",
                     {pipeline}, deadline);
  if (!rows.ok()) return rows.error();
  if (rows->size() == 0) return std::optional<Unverified>();
  return std::optional(Unverified{rows->Text(0, 0), rows->Bool(0, 1)});
}

apex::Status Admin::NoteVerified(const std::string& pipeline, const std::string& since,
                                 Deadline deadline) {
  Result<Rows> rows = session_.Query("note verified", "SELECT apex.verified($1, $2::timestamptz)",
                                     {pipeline, since}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

Result<std::string> Admin::Position(Deadline deadline) {
  return Text("position", "SELECT apex.position()::text", deadline);
}

Result<std::string> Admin::WaitSynced(const std::string& position, Deadline deadline) {
  // The server gives up first, so that its word is heard.
  const auto wait_ms = std::max<int64_t>(deadline.remaining().count() - kAnswerMs, 0);
  Result<Rows> rows =
      session_.Query("wait synced", "CALL apex.wait_synced($1, $2::int8 * interval '1 ms', NULL)",
                     {position, std::to_string(wait_ms)}, deadline);
  if (!rows.ok()) return rows.error();
  return rows->Text(0, 0);
}

Result<std::string> Admin::Text(const char* operation, const char* sql, Deadline deadline) {
  Result<Rows> rows = session_.Query(operation, sql, {}, deadline);
  if (!rows.ok()) return rows.error();
  return rows->size() == 0 ? std::string() : rows->Text(0, 0);
}

}  // namespace apex::postgres
