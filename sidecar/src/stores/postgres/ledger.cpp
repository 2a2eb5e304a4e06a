#include "stores/postgres/ledger.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace apex::postgres {
namespace {

using Json = nlohmann::json;

ConnectOptions Options(const LedgerOptions& options, const char* purpose) {
  return {options.dsn, options.password, "apex " + options.pipeline + " " + purpose,
          /*to_primary=*/true};
}

StoreError Broken(const char* operation, std::string what) {
  return {Store::kPostgres, operation,       ErrorKind::kPermanent,
          "apex.ledger",    std::move(what), std::nullopt};
}

StoreError NotLeading(const char* operation) {
  return {Store::kPostgres,
          operation,
          ErrorKind::kPermanent,
          std::string(kFenced),
          "this epoch no longer leads",
          std::nullopt};
}

/// A store's words go into jsonb, which holds neither NUL nor broken UTF-8.
std::string ToText(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string WithoutNul(std::string text) {
  std::erase(text, '\0');
  return text;
}

Json ToJson(const RowId& row) {
  // The key is jsonb's own output.
  return {{"relation", row.relation}, {"key", Json::parse(row.key)}};
}

Json ToJson(const FailureRecord& record) {
  Json json = ToJson(record.aggregate);
  json["id"] = record.id;
  json["failed_step"] = record.failed_step;
  json["error_type"] = record.error_type;
  json["native_code"] = WithoutNul(record.native_code);
  json["error"] = WithoutNul(record.error);
  json["traceparent"] = WithoutNul(record.traceparent);
  json["events"] = record.events;
  json["xids"] = Json::array();
  for (const uint64_t xid : record.xids) json["xids"].push_back(std::to_string(xid));
  json["steps"] = Json::array();
  for (const Store store : record.steps) json["steps"].push_back(StepName(store));
  json["rows"] = Json::array();
  for (const FailureRecord::Row& each : record.rows) {
    Json row = ToJson(each.row);
    row["mapping"] = each.mapping;
    row["failed_seq"] = each.failed_seq;
    row["first_seq"] = each.first_seq;
    row["oldest_seq"] = each.oldest_seq;
    row["carried_forward"] = each.carried_forward;
    json["rows"].push_back(std::move(row));
  }
  return json;
}

std::vector<Store> ParseSteps(const std::vector<std::string>& names) {
  std::vector<Store> steps;
  for (const std::string& name : names) {
    for (const Store store : {Store::kNeo4j, Store::kQdrant, Store::kRedis}) {
      if (name == StepName(store)) steps.push_back(store);
    }
  }
  return steps;
}

constexpr const char* kUndoRows =
    "SELECT mapping, relation, key::text, failed_seq, accepted_seq, accepted::text, "
    "accepted_embedding, images FROM ";

}  // namespace

Ledger::Ledger(LedgerOptions options)
    : options_(std::move(options)),
      session_(Options(options_, "ledger")),
      heartbeat_session_(Options(options_, "heartbeat")),
      backfill_session_(Options(options_, "backfill")) {}

Result<std::optional<Leadership>> Ledger::TryLead(Deadline deadline) {
  Result<Rows> rows = session_.Query(
      "lead",
      "SELECT epoch, another_history, settled, handed_out, system_identifier, current_database() "
      "FROM apex.lead($1, $2, $3)",
      {options_.pipeline, options_.leader, std::to_string(options_.lease_ms)}, deadline);
  if (!rows.ok()) return rows.error();
  if (rows->IsNull(0, 0)) return std::optional<Leadership>();

  Leadership leadership;
  leadership.epoch = rows->Int(0, 0);
  leadership.another_history = rows->Bool(0, 1);
  leadership.system_identifier = std::to_string(static_cast<uint64_t>(rows->Int(0, 4)));
  leadership.database = rows->Text(0, 5);
  epoch_ = leadership.epoch;
  next_.reset();
  peeked_ = PeekCursor();
  reader_ = rows->IsNull(0, 3) ? BatchReader() : BatchReader(rows->Int(0, 2), rows->Int(0, 3));
  return std::optional<Leadership>(std::move(leadership));
}

Status Ledger::Load(Leadership& leadership, Deadline deadline) {
  if (Result<std::vector<MappingPtr>> loaded = LoadMappings(deadline); !loaded.ok())
    return loaded.error();
  Result<Rows> sagas =
      session_.Query("load failures",
                     "SELECT id::text, steps, failed_step, error_type FROM apex.saga"
                     " WHERE pipeline = $1 AND state = 'compensating' ORDER BY created_at, id",
                     {options_.pipeline}, deadline);
  if (!sagas.ok()) return sagas.error();
  for (int i = 0; i < sagas->size(); ++i) {
    RecordedFailure failure{sagas->Text(i, 0),
                            ParseSteps(sagas->Texts(i, 1)),
                            sagas->Text(i, 2),
                            sagas->Text(i, 3),
                            {}};
    Result<Rows> rows =
        session_.Query("load failures", (std::string(kUndoRows) + "apex.undo_rows($1)").c_str(),
                       {failure.id}, deadline);
    if (!rows.ok()) return rows.error();
    Result<std::vector<RowUndo>> undo = ParseUndo(*rows, deadline);
    if (!undo.ok()) return undo.error();
    failure.rows = std::move(*undo);
    leadership.compensating.push_back(std::move(failure));
  }

  Result<Rows> parked =
      session_.Query("load parked rows",
                     "SELECT r.relation::oid, r.key::text, r.failed_seq FROM apex.saga_row r"
                     " JOIN apex.saga s ON s.id = r.saga WHERE s.pipeline = $1",
                     {options_.pipeline}, deadline);
  if (!parked.ok()) return parked.error();
  for (int i = 0; i < parked->size(); ++i) {
    leadership.parked_rows.push_back(
        {{parked->Oid(i, 0), CompactJson(parked->Bytes(i, 1))}, parked->Int(i, 2)});
  }
  return {};
}

Status Ledger::Heartbeat(Deadline deadline) {
  Result<Rows> rows = heartbeat_session_.Query("heartbeat", "SELECT apex.heartbeat($1, $2)",
                                               {options_.pipeline, epoch()}, deadline);
  if (!rows.ok()) return rows.error();
  if (!rows->Bool(0, 0)) return NotLeading("heartbeat");
  return {};
}

Status Ledger::Resign(Deadline deadline) {
  Result<Rows> rows = session_.Query("resign", "SELECT apex.resign($1, $2)",
                                     {options_.pipeline, epoch()}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

Result<std::vector<MappingPtr>> Ledger::LoadMappings(Deadline deadline) {
  Result<Rows> rows =
      session_.Query("load mappings",
                     "SELECT id, relation_oid, active, on_failure, spec::text FROM apex.mapping"
                     " WHERE pipeline = $1 ORDER BY id",
                     {options_.pipeline}, deadline);
  if (!rows.ok()) return rows.error();
  Mappings known;
  std::vector<MappingPtr> list;
  for (int i = 0; i < rows->size(); ++i) {
    Result<TableMapping> parsed =
        ParseMapping(static_cast<int32_t>(rows->Int(i, 0)), rows->Oid(i, 1), options_.pipeline,
                     rows->Bool(i, 2), rows->Text(i, 3), rows->Bytes(i, 4));
    if (!parsed.ok()) return parsed.error();
    auto mapping = std::make_shared<const TableMapping>(std::move(*parsed));
    known.emplace(mapping->id, mapping);
    list.push_back(std::move(mapping));
  }
  mappings_ = std::move(known);
  return list;
}

Status Ledger::Know(int32_t mapping, Deadline deadline) {
  if (mappings_.contains(mapping)) return {};
  if (Result<std::vector<MappingPtr>> loaded = LoadMappings(deadline); !loaded.ok())
    return loaded.error();
  if (!mappings_.contains(mapping)) {
    return Broken("load mappings", "mapping " + std::to_string(mapping) +
                                       " is named by an event and does not exist");
  }
  return {};
}

Result<PieceChanges> Ledger::ReadChanges(const std::string& sql,
                                         const std::vector<Session::Parameter>& parameters,
                                         Deadline deadline) {
  Result<Rows> rows = session_.Query("read", sql.c_str(), parameters, deadline);
  if (!rows.ok()) return rows.error();
  while (const int32_t unknown = FindUnknownMapping(*rows, mappings_)) {
    if (Status known = Know(unknown, deadline); !known.ok()) return known.error();
  }
  return ParseChanges(*rows, mappings_);
}

Result<Piece> Ledger::Read(PieceSize size, Deadline deadline) {
  static const std::string sql =
      "SELECT " + std::string(kChangeColumns) + " FROM apex.read_piece($1, $2, $3, $4, $5, $6)";
  Session::Parameter window_end;
  if (reader_.window_end()) window_end = std::to_string(*reader_.window_end());
  Result<PieceChanges> read =
      ReadChanges(sql,
                  {options_.pipeline, epoch(), std::to_string(reader_.after()),
                   std::to_string(size.rows_max), window_end, std::to_string(size.bytes_max)},
                  deadline);
  if (!read.ok()) return read.error();
  return reader_.Accept(std::move(*read));
}

Result<Piece> Ledger::ReadAhead(PieceSize size, Deadline deadline) {
  static const std::string sql =
      "SELECT " + std::string(kChangeColumns) + " FROM apex.read_ahead($1, $2, $3, $4, $5, $6, $7)";
  const std::string rows_max = std::to_string(size.rows_max);
  next_.reset();
  Result<Rows> found = session_.Query(
      "read ahead",
      "SELECT to_snapshot::text, to_ceiling::text, to_position::text FROM apex.next_batch($1, $2, "
      "$3)",
      {options_.pipeline, epoch(), rows_max}, deadline);
  if (!found.ok()) return found.error();
  if (found->IsNull(0, 0)) return Piece{};
  NextBatch next{found->Text(0, 0), found->Text(0, 1), found->Text(0, 2), {}};
  Result<PieceChanges> read =
      ReadChanges(sql,
                  {options_.pipeline, epoch(), next.to_snapshot, next.to_ceiling, next.to_position,
                   rows_max, std::to_string(size.bytes_max)},
                  deadline);
  if (!read.ok()) return read.error();
  // Its blocks may be another pipeline's.
  if (read->changes.empty()) return Piece{};
  Piece piece = next.reader.Accept(std::move(*read));
  next_ = std::move(next);
  return piece;
}

Result<Piece> Ledger::Peek(PieceSize size, const PeekPlace& place, Deadline deadline) {
  static const std::string sql = "SELECT " + std::string(kChangeColumns) +
                                 " FROM apex.peek($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
  peeked_.CatchUp(place);
  if (!peeked_.span()) {
    Result<Rows> found = session_.Query(
        "peek",
        "SELECT from_snapshot::text, from_ceiling::text, from_position::text, to_snapshot::text,"
        " to_ceiling::text, to_position::text, now_snapshot::text, now_ceiling::text,"
        " now_position::text FROM apex.peek_bounds($1, $2)",
        {options_.pipeline, epoch()}, deadline);
    if (!found.ok()) return found.error();
    if (found->IsNull(0, 0)) return Piece{{}, 0, true, 0};
    const auto bound = [&](int column) {
      return Bound{found->Text(0, column), found->Text(0, column + 1), found->Text(0, column + 2)};
    };
    peeked_.Begin(place, bound(0), bound(3), bound(6));
  }
  const PeekCursor::Span& span = *peeked_.span();
  Result<PieceChanges> read = ReadChanges(
      sql,
      {options_.pipeline, epoch(), span.from.snapshot, span.from.ceiling, span.from.position,
       span.to.snapshot, span.to.ceiling, span.to.position, std::to_string(span.after_seq),
       std::to_string(size.rows_max), std::to_string(size.bytes_max)},
      deadline);
  if (!read.ok()) return read.error();
  const bool span_end = read->changes.empty() || read->batch_end;
  const bool nothing_behind = peeked_.Passed(read->through_seq, span_end);
  return Piece{std::move(read->changes), read->through_seq, nothing_behind, 0};
}

Status Ledger::Checkpoint(const CheckpointRequest& request, Deadline deadline) {
  Json superseded = Json::array();
  for (const RowVersion& each : request.superseded) {
    Json row = ToJson(each.row);
    row["seq"] = each.seq;
    superseded.push_back(std::move(row));
  }
  std::string sql = "SELECT apex.checkpoint($1, $2, $3, $4, $5)";
  std::vector<Session::Parameter> parameters = {
      options_.pipeline, epoch(), std::to_string(request.settled_seq), ToText(superseded),
      request.close ? "true" : "false"};
  if (request.open_next) {
    sql += ", apex.open_batch($1, $2, $6, $7, $8, $9)";
    for (const std::string& part : {next_->to_snapshot, next_->to_ceiling, next_->to_position,
                                    std::to_string(next_->reader.after())}) {
      parameters.emplace_back(part);
    }
  }
  Result<Rows> rows = session_.Query("checkpoint", sql.c_str(), parameters, deadline);
  if (!rows.ok()) return rows.error();
  if (request.close) peeked_.BatchClosed();
  if (request.open_next) {
    reader_ = std::move(next_->reader);
    next_.reset();
  } else if (request.close) {
    reader_.Close();
  }
  return {};
}

Result<std::vector<RowUndo>> Ledger::RecordFailure(const FailureRecord& record, Deadline deadline) {
  Result<Rows> rows = session_.Query(
      "record failure", (std::string(kUndoRows) + "apex.record_failure($1, $2, $3)").c_str(),
      {options_.pipeline, epoch(), ToText(ToJson(record))}, deadline);
  if (!rows.ok()) return rows.error();
  return ParseUndo(*rows, deadline);
}

Result<std::vector<RowUndo>> Ledger::ParseUndo(const Rows& rows, Deadline deadline) {
  std::vector<RowUndo> list;
  for (int i = 0; i < rows.size(); ++i) {
    const auto mapping = static_cast<int32_t>(rows.Int(i, 0));
    if (Status known = Know(mapping, deadline); !known.ok()) return known.error();
    RowUndo undo;
    undo.mapping = mappings_.at(mapping);
    undo.row = {rows.Oid(i, 1), CompactJson(rows.Bytes(i, 2))};
    undo.failed_seq = rows.Int(i, 3);
    undo.accepted_seq = rows.Int(i, 4);
    undo.accepted = rows.TextIfAny(i, 5);
    undo.accepted_embedding = rows.TextIfAny(i, 6);
    undo.images = rows.Texts(i, 7);
    list.push_back(std::move(undo));
  }
  return list;
}

Status Ledger::LimitStatements(std::chrono::milliseconds span, Deadline deadline) {
  Result<Rows> rows =
      session_.Query("settle failure", "SELECT set_config('statement_timeout', $1, false)",
                     {std::to_string(span.count())}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

Status Ledger::SettleFailure(const std::string& id, FailureState state, Deadline deadline) {
  // What the user's handlers and triggers do in there ends well before nobody waits for it any
  // more: the saga is then parked, where otherwise every leader would begin with it again.
  if (Status limited = LimitStatements(deadline.remaining() / 2, deadline); !limited.ok())
    return limited;
  Result<Rows> rows =
      session_.Query("settle failure", "SELECT apex.settle_failure($1, $2, $3, $4)",
                     {options_.pipeline, epoch(), id,
                      state == FailureState::kParked ? "parked" : "compensation_failed"},
                     deadline);
  if (!rows.ok()) return rows.error();
  return LimitStatements(std::chrono::milliseconds{0}, deadline);
}

Result<std::optional<BackfillStep>> Ledger::Backfill(int64_t rows_max, Deadline deadline) {
  Result<Rows> rows = backfill_session_.Query(
      "backfill", "SELECT rows_sent, wait_ms FROM apex.backfill_step($1, $2, $3)",
      {options_.pipeline, epoch(), std::to_string(rows_max)}, deadline);
  if (!rows.ok()) return rows.error();
  if (rows->IsNull(0, 0)) return std::optional<BackfillStep>();
  return std::optional(BackfillStep{rows->Int(0, 0), std::chrono::milliseconds(rows->Int(0, 1))});
}

Status Ledger::Rotate(Deadline deadline) {
  Result<Rows> rows = session_.Query("rotate", "SELECT apex.rotate()", {}, deadline);
  if (!rows.ok()) return rows.error();
  return {};
}

}  // namespace apex::postgres
