#include "stores/qdrant/encode.h"

#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "stores/qdrant/point_id.h"

static_assert(std::endian::native == std::endian::little,
              "embeddings are copied as packed little-endian floats");

namespace apex::qdrant {
namespace {

using Json = nlohmann::json;
using ::qdrant::Value;

/// Why a value cannot be encoded; empty: it can.
using Reason = std::string;

constexpr std::string_view kNoObject = "the image is not a JSON object";
constexpr std::string_view kNotDescribed =
    "the mapping names a payload column it does not describe";
constexpr std::string_view kOutOfRange =
    "json with a number beyond a double, or with half a surrogate pair";

StoreError Unencodable(const TableMapping& mapping, const RowId& row, std::string_view column,
                       std::string_view reason) {
  StoreError error;
  error.store = Store::kQdrant;
  error.operation = "encode";
  error.kind = ErrorKind::kPermanent;
  error.native_code = kUnencodable;
  error.message = mapping.table + " " + row.key;
  if (!column.empty()) error.message.append(", column ").append(column);
  error.message.append(": ").append(reason);
  return error;
}

/// A json or jsonb value as it is.
Reason EncodeNative(const Json& json, int depth, Value* out) {
  if (depth > kNestingMax) {
    return "json nested deeper than " + std::to_string(kNestingMax) + " levels";
  }
  switch (json.type()) {
    case Json::value_t::boolean: out->set_bool_value(json.get<bool>()); return {};
    case Json::value_t::number_integer: out->set_integer_value(json.get<int64_t>()); return {};
    case Json::value_t::number_unsigned:
      // Qdrant's integers are signed; what is larger becomes a double, as in its own JSON API.
      if (std::in_range<int64_t>(json.get<uint64_t>())) {
        out->set_integer_value(json.get<int64_t>());
      } else {
        out->set_double_value(json.get<double>());
      }
      return {};
    case Json::value_t::number_float: out->set_double_value(json.get<double>()); return {};
    case Json::value_t::string:
      out->set_string_value(json.get_ref<const std::string&>());
      return {};
    case Json::value_t::array: {
      auto* list = out->mutable_list_value();
      for (const Json& item : json) {
        if (Reason reason = EncodeNative(item, depth + 1, list->add_values()); !reason.empty())
          return reason;
      }
      return {};
    }
    case Json::value_t::object: {
      auto& fields = *out->mutable_struct_value()->mutable_fields();
      for (const auto& [name, item] : json.items()) {
        if (Reason reason = EncodeNative(item, depth + 1, &fields[name]); !reason.empty())
          return reason;
      }
      return {};
    }
    default: out->set_null_value(::qdrant::NULL_VALUE); return {};
  }
}

Reason EncodeText(ColumnKind kind, const std::string& text, Value* out) {
  const bool is_date = kind == ColumnKind::kTimestamptz || kind == ColumnKind::kTimestamp ||
                       kind == ColumnKind::kDate;
  if (is_date && (text == "infinity" || text == "-infinity"))
    return "Qdrant holds no infinite dates";
  if (kind == ColumnKind::kJson) {
    const Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded()) return std::string(kOutOfRange);
    return EncodeNative(parsed, 0, out);
  }
  out->set_string_value(text);
  return {};
}

/// One element of a column. A float that is not a number came as a string and stays one: a JSON
/// payload has no other way.
Reason EncodeScalar(ColumnKind kind, const Json& json, Value* out) {
  if (json.is_null()) {
    out->set_null_value(::qdrant::NULL_VALUE);
    return {};
  }
  if (kind == ColumnKind::kJsonb) return EncodeNative(json, 0, out);
  if (json.is_string()) return EncodeText(kind, json.get_ref<const std::string&>(), out);
  if (kind == ColumnKind::kFloat && json.is_number()) {
    out->set_double_value(json.get<double>());
    return {};
  }
  if ((kind == ColumnKind::kInt && json.is_number_integer()) ||
      (kind == ColumnKind::kBool && json.is_boolean())) {
    return EncodeNative(json, 0, out);
  }
  return "unexpected value " + json.dump();
}

Reason EncodeValue(const Column& column, const Json& json, Value* out) {
  if (!column.is_array || json.is_null()) return EncodeScalar(column.kind, json, out);
  // A multidimensional array is a list of lists.
  if (!json.is_array()) return EncodeScalar(column.kind, json, out);
  auto* list = out->mutable_list_value();
  for (const Json& item : json) {
    if (Reason reason = EncodeValue(column, item, list->add_values()); !reason.empty())
      return reason;
  }
  return {};
}

/// Key columns, then payload columns. nullptr stands for a column that the mapping does not
/// describe.
std::vector<const Column*> PayloadColumns(const TableMapping& mapping) {
  std::vector<const Column*> columns;
  for (const Column& column : mapping.key) columns.push_back(&column);
  for (const std::string& name : mapping.vector->payload)
    columns.push_back(mapping.FindColumn(name));
  return columns;
}

/// Only the columns of the payload are parsed: a value that another store alone needs cannot be at
/// fault here.
Status EncodePayload(const TableMapping& mapping, const RowId& row, int64_t seq,
                     std::string_view image, ::qdrant::PointStruct* point) {
  auto& payload = *point->mutable_payload();
  const std::vector<const Column*> columns = PayloadColumns(mapping);
  for (const Column* column : columns) {
    if (column == nullptr) return Unencodable(mapping, row, {}, kNotDescribed);
    payload[column->name].set_null_value(::qdrant::NULL_VALUE);
  }
  payload[kSeqField].set_integer_value(seq);

  thread_local simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(image);
  simdjson::ondemand::document document;
  simdjson::ondemand::object members;
  if (parser.iterate(padded).get(document) || document.get_object().get(members)) {
    return Unencodable(mapping, row, {}, kNoObject);
  }
  for (auto member : members) {
    std::string_view name;
    if (member.unescaped_key().get(name)) return Unencodable(mapping, row, {}, kNoObject);
    const auto column = std::find_if(columns.begin(), columns.end(),
                                     [name](const Column* c) { return c->name == name; });
    if (column == columns.end()) continue;
    Json value(Json::value_t::discarded);
    std::string_view text;
    if (!simdjson::to_json_string(member.value()).get(text)) {
      value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    }
    const Reason reason = value.is_discarded()
                              ? std::string(kOutOfRange)
                              : EncodeValue(**column, value, &payload[(*column)->name]);
    if (!reason.empty()) return Unencodable(mapping, row, (*column)->name, reason);
  }
  return {};
}

/// The dimension is not checked: Qdrant's own words about it are what a parked saga shows.
Status EncodeVector(const TableMapping& mapping, const RowId& row, std::string_view packed,
                    ::qdrant::PointStruct* point) {
  const std::string& column = mapping.vector->embedding;
  if (packed.size() % sizeof(float) != 0)
    return Unencodable(mapping, row, column, "the embedding is cut short");
  auto* data = point->mutable_vectors()->mutable_vector()->mutable_dense()->mutable_data();
  data->Resize(static_cast<int>(packed.size() / sizeof(float)), 0);
  std::memcpy(data->mutable_data(), packed.data(), packed.size());
  for (int i = 0; i < data->size(); ++i) {
    if (!std::isfinite(data->Get(i))) {
      const std::string_view what = std::isnan(data->Get(i)) ? "NaN" : "Infinity";
      return Unencodable(
          mapping, row, column,
          std::string(what) + " at position " + std::to_string(i + 1) + " of the embedding");
    }
  }
  return {};
}

Result<::qdrant::PointStruct> EncodePoint(const TableMapping& mapping, const RowId& row,
                                          int64_t seq, std::string_view image,
                                          std::string_view embedding) {
  ::qdrant::PointStruct point;
  *point.mutable_id() = PointIdOf(mapping, row);
  if (Status payload = EncodePayload(mapping, row, seq, image, &point); !payload.ok())
    return payload.error();
  if (Status vector = EncodeVector(mapping, row, embedding, &point); !vector.ok())
    return vector.error();
  return point;
}

/// True of points of a lower version, and of points that carry none because somebody else wrote
/// them. Qdrant's ranges are doubles: versions are exact below 2^53.
void AddOlderThan(int64_t seq, ::qdrant::Filter* filter) {
  auto* field = filter->add_must_not()->mutable_field();
  field->set_key(kSeqField);
  field->mutable_range()->set_gte(static_cast<double>(seq));
}

/// True of points that came from the failed changes.
void AddFailed(const RowUndo& undo, ::qdrant::Filter* filter) {
  auto* field = filter->add_must()->mutable_field();
  field->set_key(kSeqField);
  field->mutable_range()->set_gt(static_cast<double>(undo.accepted_seq));
  field->mutable_range()->set_lte(static_cast<double>(undo.failed_seq));
}

/// The filter of a delete that takes this point alone, for the caller to narrow.
::qdrant::Filter* StartDelete(const TableMapping& mapping, const RowId& row,
                              PointOperation* operation) {
  auto* filter = operation->mutable_delete_points()->mutable_points()->mutable_filter();
  *filter->add_must()->mutable_has_id()->add_has_id() = PointIdOf(mapping, row);
  return filter;
}

}  // namespace

Result<PointOperation> EncodeWrite(const RowWrite& write) {
  const Change& change = *write.newest;
  const TableMapping& mapping = *change.mapping;
  PointOperation operation;
  if (change.op != Operation::kDelete && !change.capture_error.empty()) {
    return Unencodable(mapping, change.row, {}, change.capture_error);
  }
  if (change.op == Operation::kDelete || !change.embedding) {
    AddOlderThan(write.seq, StartDelete(mapping, change.row, &operation));
    return operation;
  }
  auto point =
      EncodePoint(mapping, change.row, write.seq, change.after.value_or("{}"), *change.embedding);
  if (!point.ok()) return point.error();
  *operation.mutable_upsert()->add_points() = *std::move(point);
  AddOlderThan(write.seq, operation.mutable_upsert()->mutable_update_filter());
  return operation;
}

Result<PointOperation> EncodeUndo(const RowUndo& undo) {
  const TableMapping& mapping = *undo.mapping;
  PointOperation operation;
  if (!undo.accepted || !undo.accepted_embedding) {
    AddFailed(undo, StartDelete(mapping, undo.row, &operation));
    return operation;
  }
  auto point =
      EncodePoint(mapping, undo.row, undo.accepted_seq, *undo.accepted, *undo.accepted_embedding);
  if (!point.ok()) return point.error();
  *operation.mutable_upsert()->add_points() = *std::move(point);
  AddFailed(undo, operation.mutable_upsert()->mutable_update_filter());
  return operation;
}

}  // namespace apex::qdrant
