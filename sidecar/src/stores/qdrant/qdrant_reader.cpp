#include "stores/qdrant/qdrant_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "stores/qdrant/point_id.h"

namespace apex::qdrant {
namespace {

using Payload = google::protobuf::Map<std::string, ::qdrant::Value>;
using Floats = google::protobuf::RepeatedField<float>;
using ::qdrant::Value;

/// Points of one answer.
constexpr uint32_t kPagePoints = 500;
/// Whole numbers beyond this are not told from their neighbours by a double.
constexpr double kExactMax = 9007199254740992.0;

std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// JSON knows one kind of number: 1 and 1.0 are the same.
std::string ShowNumber(double number) {
  if (std::abs(number) < kExactMax && number == std::floor(number))
    return std::to_string(static_cast<int64_t>(number));
  return fmt::format("{}", number);
}

std::string ShowValue(const Value& value) {
  switch (value.kind_case()) {
    case Value::kBoolValue: return value.bool_value() ? "true" : "false";
    case Value::kIntegerValue: return std::to_string(value.integer_value());
    case Value::kDoubleValue: return ShowNumber(value.double_value());
    case Value::kStringValue: return Quoted(value.string_value());
    case Value::kListValue: {
      std::string text;
      for (const Value& item : value.list_value().values())
        text += (text.empty() ? "" : ",") + ShowValue(item);
      return "[" + text + "]";
    }
    case Value::kStructValue: {
      std::map<std::string, std::string> members;
      for (const auto& [name, member] : value.struct_value().fields())
        members[name] = ShowValue(member);
      std::string text;
      for (const auto& [name, member] : members)
        text += (text.empty() ? "" : ",") + Quoted(name) + ":" + member;
      return "{" + text + "}";
    }
    default: return "null";
  }
}

std::string ShowId(const ::qdrant::PointId& id) {
  return id.has_num() ? std::to_string(id.num()) : id.uuid();
}

/// As the outbox writes it: integers as numbers, everything else as text.
std::optional<std::string> KeyFromPayload(const TableMapping& mapping, const Payload& payload) {
  nlohmann::json key = nlohmann::json::array();
  for (const Column& column : mapping.key) {
    const auto found = payload.find(column.name);
    if (found == payload.end()) return std::nullopt;
    const Value& value = found->second;
    if (value.has_integer_value() && column.kind == ColumnKind::kInt) {
      key.push_back(value.integer_value());
    } else if (value.has_string_value()) {
      key.push_back(value.string_value());
    } else {
      key.push_back(ShowValue(value));
    }
  }
  return key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Where the point's id is the row's key, it tells the key whatever became of the payload.
std::optional<std::string> KeyOf(const TableMapping& mapping, const ::qdrant::PointId& id,
                                 const Payload& payload) {
  const bool is_single = mapping.key.size() == 1;
  if (is_single && mapping.key[0].kind == ColumnKind::kInt && id.has_num())
    return fmt::format("[{}]", id.num());
  if (is_single && mapping.key[0].kind == ColumnKind::kUuid && id.has_uuid())
    return fmt::format("[\"{}\"]", id.uuid());
  std::optional<std::string> key = KeyFromPayload(mapping, payload);
  if (!key) return std::nullopt;
  const ::qdrant::PointId expected = PointIdOf(mapping, RowId{mapping.relation, *key});
  return ShowId(expected) == ShowId(id) ? key : std::nullopt;
}

void AddField(const std::string& name, const Payload& payload, StoredRow& row) {
  const bool known = std::ranges::any_of(
      row.fields, [&name](const StoredField& field) { return field.name == name; });
  if (known) return;
  const auto found = payload.find(name);
  row.fields.push_back({name, found == payload.end() ? "absent" : ShowValue(found->second)});
}

const Floats& VectorOf(const TableMapping& mapping, const ::qdrant::RetrievedPoint& point) {
  const ::qdrant::VectorOutput* vector = &point.vectors().vector();
  if (const std::string& name = mapping.vector->name; !name.empty()) {
    const auto& named = point.vectors().vectors().vectors();
    const auto found = named.find(name);
    vector = found == named.end() ? &::qdrant::VectorOutput::default_instance() : &found->second;
  }
  // Servers before 1.16 fill the older member.
  return vector->has_dense() ? vector->dense().data() : vector->data();
}

const Floats& VectorOf(const TableMapping& mapping, const ::qdrant::PointStruct& point) {
  const std::string& name = mapping.vector->name;
  return name.empty() ? point.vectors().vector().dense().data()
                      : point.vectors().vectors().vectors().at(name).dense().data();
}

}  // namespace

StoredRow DescribePoint(const TableMapping& mapping, const ::qdrant::PointId& id,
                        const Payload& payload, const Floats& vector) {
  StoredRow row;
  row.name = ShowId(id);
  row.key = KeyOf(mapping, id, payload);
  if (const auto seq = payload.find(std::string(kSeqField));
      seq != payload.end() && seq->second.has_integer_value()) {
    row.version = seq->second.integer_value();
  }
  for (const Column& column : mapping.key) AddField(column.name, payload, row);
  for (const std::string& name : mapping.vector->payload) AddField(name, payload, row);
  std::ranges::sort(row.fields);
  row.vector.assign(vector.begin(), vector.end());
  row.is_direction = mapping.vector->distance == Distance::kCosine;
  return row;
}

Result<std::optional<StoredRow>> QdrantReader::Expected(const ChangePtr& row) {
  Result<std::string_view> bytes = encoder_.Write(RowWrite{row->seq, row, {}});
  if (!bytes.ok()) return bytes.error();
  ::qdrant::PointsUpdateOperation operation;
  operation.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()));
  if (!operation.has_upsert()) return std::optional<StoredRow>();
  const ::qdrant::PointStruct& point = operation.upsert().points(0);
  StoredRow expected =
      DescribePoint(*row->mapping, point.id(), point.payload(), VectorOf(*row->mapping, point));
  expected.key = row->row.key;
  return std::optional(std::move(expected));
}

Status QdrantReader::ReadAll(const MappingPtr& mapping, const Page& page) {
  ::qdrant::ScrollPoints request;
  request.set_collection_name(mapping->vector->collection);
  request.set_limit(kPagePoints);
  request.mutable_with_payload()->set_enable(true);
  request.mutable_with_vectors()->set_enable(true);
  while (true) {
    auto response = client_.ScrollPoints(request, Deadline::After(kReadTimeout));
    if (!response.ok()) return response.error();
    if (!*response) return {};
    std::vector<StoredRow> rows;
    for (const ::qdrant::RetrievedPoint& point : (*response)->result())
      rows.push_back(
          DescribePoint(*mapping, point.id(), point.payload(), VectorOf(*mapping, point)));
    if (Status status = page(std::move(rows)); !status.ok()) return status;
    if (!(*response)->has_next_page_offset()) return {};
    *request.mutable_offset() = (*response)->next_page_offset();
  }
}

Result<std::vector<StoredRow>> QdrantReader::ReadThese(const MappingPtr& mapping,
                                                       std::span<const StoredRow> rows) {
  ::qdrant::GetPoints request;
  request.set_collection_name(mapping->vector->collection);
  request.mutable_with_payload()->set_enable(true);
  request.mutable_with_vectors()->set_enable(true);
  for (const StoredRow& row : rows) {
    ::qdrant::PointId& id = *request.add_ids();
    const bool is_number = row.name.find('-') == std::string::npos;
    is_number ? id.set_num(std::stoull(row.name)) : id.set_uuid(row.name);
  }
  std::vector<StoredRow> found;
  auto info = client_.GetCollection(mapping->vector->collection, Deadline::After(kReadTimeout));
  if (!info.ok()) return info.error();
  if (!*info) return found;
  auto response = client_.GetPoints(request, Deadline::After(kReadTimeout));
  if (!response.ok()) return response.error();
  for (const ::qdrant::RetrievedPoint& point : response->result())
    found.push_back(
        DescribePoint(*mapping, point.id(), point.payload(), VectorOf(*mapping, point)));
  return found;
}

}  // namespace apex::qdrant
