#include "stores/qdrant/encode.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "stores/qdrant/point_id.h"
#include "stores/qdrant/values.h"
#include "stores/qdrant/wire.h"

namespace apex::qdrant {
namespace {

namespace api = ::qdrant;
using Operation = api::PointsUpdateOperation;
using List = api::PointsUpdateOperation::PointStructList;
using wire::FieldSize;
using wire::Writer;

constexpr std::string_view kNoObject = "the image is not a JSON object";
constexpr std::string_view kNotDescribed =
    "the mapping names a payload column it does not describe";

/// Mappings are few; the plans of those of events long settled are forgotten together.
constexpr size_t kPlansMax = 1024;

/// Key and value of a map's entry on the wire.
constexpr int kEntryKey = 1;
constexpr int kEntryValue = 2;

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

/// Where the entries of a payload go, and the field of the message that they are.
struct Payload {
  std::string& bytes;
  int number;
};

/// The header of a payload entry and its key; the Value of `size` bytes follows.
void StartEntry(std::string_view name, size_t size, Payload payload) {
  Writer out(payload.bytes);
  out.Header(payload.number, FieldSize(kEntryKey, name.size()) + FieldSize(kEntryValue, size));
  out.Bytes(kEntryKey, name);
  out.Header(kEntryValue, size);
}

void AddString(std::string_view name, std::string_view text, Payload payload) {
  StartEntry(name, FieldSize(api::Value::kStringValueFieldNumber, text.size()), payload);
  Writer(payload.bytes).Bytes(api::Value::kStringValueFieldNumber, text);
}

void AddVarint(std::string_view name, int field, uint64_t value, Payload payload) {
  StartEntry(name, 1 + wire::VarintSize(value), payload);
  Writer(payload.bytes).Varint(field, value);
}

void AddNull(std::string_view name, Payload payload) {
  AddVarint(name, api::Value::kNullValueFieldNumber, api::NULL_VALUE, payload);
}

template <typename Number>
bool Parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool IsPlain(std::string_view json) {
  return json.size() >= 2 && json.front() == '"' && json.find('\\') == std::string_view::npos;
}

/// Values whose JSON says at once what they are, which nearly all do. False: EncodeValue has to
/// look at it.
bool AddSimple(const Column& column, std::string_view json, Payload payload) {
  if (json == "null") {
    AddNull(column.name, payload);
    return true;
  }
  if (column.is_array) return false;
  switch (column.kind) {
    case ColumnKind::kNumeric:
    case ColumnKind::kUuid:
    case ColumnKind::kText:
    case ColumnKind::kOther:
      if (!IsPlain(json)) return false;
      AddString(column.name, json.substr(1, json.size() - 2), payload);
      return true;
    case ColumnKind::kTimestamptz:
    case ColumnKind::kTimestamp:
    case ColumnKind::kDate:
      if (!IsPlain(json) || json.ends_with("infinity\"")) return false;
      AddString(column.name, json.substr(1, json.size() - 2), payload);
      return true;
    case ColumnKind::kInt: {
      int64_t number = 0;
      if (!Parse(json, number)) return false;
      AddVarint(column.name, api::Value::kIntegerValueFieldNumber, static_cast<uint64_t>(number),
                payload);
      return true;
    }
    case ColumnKind::kFloat: {
      double number = 0;
      if (!Parse(json, number)) return false;
      StartEntry(column.name, wire::DoubleFieldSize(api::Value::kDoubleValueFieldNumber), payload);
      Writer(payload.bytes).Double(api::Value::kDoubleValueFieldNumber, number);
      return true;
    }
    case ColumnKind::kBool:
      if (json != "true" && json != "false") return false;
      AddVarint(column.name, api::Value::kBoolValueFieldNumber, json == "true" ? 1 : 0, payload);
      return true;
    default: return false;
  }
}

/// The dimension is not checked: Qdrant's own words about it are what a parked saga shows.
Status CheckEmbedding(const TableMapping& mapping, const RowId& row, std::string_view packed) {
  const std::string& column = mapping.vector->embedding;
  if (packed.size() % sizeof(float) != 0)
    return Unencodable(mapping, row, column, "the embedding is cut short");
  const auto at = [packed](size_t position) {
    uint32_t bits = 0;
    std::memcpy(&bits, packed.data() + position * sizeof(float), sizeof bits);
    return bits;
  };
  constexpr uint32_t kExponent = 0x7F800000;
  const size_t count = packed.size() / sizeof(float);
  bool finite = true;
  for (size_t i = 0; i < count; ++i) finite &= (at(i) & kExponent) != kExponent;
  if (finite) return {};
  size_t position = 0;
  while ((at(position) & kExponent) != kExponent) ++position;
  const bool is_nan = (at(position) & ~kExponent & 0x7FFFFFFF) != 0;
  return Unencodable(mapping, row, column,
                     std::string(is_nan ? "NaN" : "Infinity") + " at position " +
                         std::to_string(position + 1) + " of the embedding");
}

std::string_view ImageOf(const Change& change) {
  return change.after ? std::string_view(*change.after) : "{}";
}

/// True of points of a lower version, and of points that carry none because somebody else wrote
/// them. Qdrant's ranges are doubles: versions are exact below 2^53.
void AddOlderThan(int64_t seq, std::string& filter) {
  constexpr size_t kRange = wire::DoubleFieldSize(api::Range::kGteFieldNumber);
  constexpr size_t kField = FieldSize(api::FieldCondition::kKeyFieldNumber, kSeqField.size()) +
                            FieldSize(api::FieldCondition::kRangeFieldNumber, kRange);
  Writer out(filter);
  out.Header(api::Filter::kMustNotFieldNumber,
             FieldSize(api::Condition::kFieldFieldNumber, kField));
  out.Header(api::Condition::kFieldFieldNumber, kField);
  out.Bytes(api::FieldCondition::kKeyFieldNumber, kSeqField);
  out.Header(api::FieldCondition::kRangeFieldNumber, kRange);
  out.Double(api::Range::kGteFieldNumber, static_cast<double>(seq));
}

/// True of points whose version is above `above`, up to `upto`.
void AddBetween(int64_t above, int64_t upto, std::string& filter) {
  api::Filter between;
  auto* field = between.add_must()->mutable_field();
  field->set_key(std::string(kSeqField));
  field->mutable_range()->set_gt(static_cast<double>(above));
  field->mutable_range()->set_lte(static_cast<double>(upto));
  between.AppendToString(&filter);
}

}  // namespace

struct PointEncoder::Plan {
  MappingPtr mapping;           ///< Kept, so that its address stays the plan's own.
  std::vector<Column> columns;  ///< Of the payload: key columns, then payload columns, each once.
  bool is_described = true;     ///< The mapping describes every one of them.
};

/// A row's image, read column by column.
class PointEncoder::Image {
 public:
  /// Calls `visit` with name and JSON text of each column, which is empty where it cannot be read,
  /// until it returns an error. False: this is no object.
  template <typename Visit>
  bool ForEach(std::string_view text, Visit visit) {
    buffer_.assign(text);
    buffer_.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    const simdjson::padded_string_view padded(buffer_.data(), buffer_.size(), buffer_.capacity());
    simdjson::ondemand::document document;
    simdjson::ondemand::object members;
    if (parser_.iterate(padded).get(document) || document.get_object().get(members)) return false;
    for (auto member : members) {
      std::string_view name;
      if (member.unescaped_key().get(name)) return false;
      std::string_view json;
      if (simdjson::to_json_string(member.value()).get(json)) json = {};
      if (!visit(name, json.substr(0, json.find_last_not_of(" \t\r\n") + 1))) return true;
    }
    return true;
  }

 private:
  std::string buffer_;
  simdjson::ondemand::parser parser_;
};

PointEncoder::PointEncoder() : image_(std::make_unique<Image>()) {}

PointEncoder::~PointEncoder() = default;

Result<std::string_view> PointEncoder::Write(const RowWrite& write) {
  const Change& change = *write.newest;
  const Plan& plan = PlanOf(change.mapping);
  const bool is_gone = change.op == apex::Operation::kDelete;
  if (!is_gone && !change.capture_error.empty()) {
    return Unencodable(*plan.mapping, change.row, {}, change.capture_error);
  }
  filter_.clear();
  AddOlderThan(write.seq, filter_);
  if (is_gone || !change.embedding) return Delete(plan, change.row);
  return Upsert(plan, change.row, write.seq, ImageOf(change), *change.embedding);
}

Result<std::string_view> PointEncoder::WritePayload(const RowWrite& write, int64_t held) {
  using Overwrite = Operation::OverwritePayload;
  const Change& change = *write.newest;
  const Plan& plan = PlanOf(change.mapping);
  if (!change.capture_error.empty())
    return Unencodable(*plan.mapping, change.row, {}, change.capture_error);
  Status payload =
      EncodePayload(plan, change.row, write.seq, ImageOf(change), Overwrite::kPayloadFieldNumber);
  if (!payload.ok()) return payload.error();
  filter_.clear();
  AddBetween(held - 1, held, filter_);
  api::PointsSelector selector;
  SelectOne(plan, change.row, selector);
  const size_t selected = selector.ByteSizeLong();
  operation_.clear();
  Writer out(operation_);
  out.Header(Operation::kOverwritePayloadFieldNumber,
             payload_.size() + FieldSize(Overwrite::kPointsSelectorFieldNumber, selected));
  operation_.append(payload_);
  out.Header(Overwrite::kPointsSelectorFieldNumber, selected);
  selector.AppendToString(&operation_);
  return std::string_view(operation_);
}

Result<std::string_view> PointEncoder::Undo(const RowUndo& undo) {
  const Plan& plan = PlanOf(undo.mapping);
  filter_.clear();
  AddBetween(undo.accepted_seq, undo.failed_seq, filter_);  // What came from the failed changes.
  if (!undo.accepted || !undo.accepted_embedding) return Delete(plan, undo.row);
  return Upsert(plan, undo.row, undo.accepted_seq, *undo.accepted, *undo.accepted_embedding);
}

const PointEncoder::Plan& PointEncoder::PlanOf(const MappingPtr& mapping) {
  const auto known = plans_.find(mapping.get());
  if (known != plans_.end()) return *known->second;
  if (plans_.size() >= kPlansMax) plans_.clear();
  auto plan = std::make_unique<Plan>();
  plan->mapping = mapping;
  const auto add = [&](const Column& column) {
    if (std::ranges::find(plan->columns, column.name, &Column::name) == plan->columns.end())
      plan->columns.push_back(column);
  };
  for (const Column& column : mapping->key) add(column);
  for (const std::string& name : mapping->vector->payload) {
    const Column* column = mapping->FindColumn(name);
    if (column == nullptr) {
      plan->is_described = false;
    } else {
      add(*column);
    }
  }
  return *plans_.emplace(mapping.get(), std::move(plan)).first->second;
}

Status PointEncoder::EncodePayload(const Plan& plan, const RowId& row, int64_t seq,
                                   std::string_view image, int number) {
  if (!plan.is_described) return Unencodable(*plan.mapping, row, {}, kNotDescribed);
  payload_.clear();
  const Payload payload{payload_, number};
  std::vector<bool> seen(plan.columns.size());
  Status status;
  const bool is_object = image_->ForEach(image, [&](std::string_view name, std::string_view json) {
    const auto column = std::ranges::find(plan.columns, name, &Column::name);
    if (column == plan.columns.end()) return true;
    seen[static_cast<size_t>(column - plan.columns.begin())] = true;
    if (AddSimple(*column, json, payload)) return true;
    api::Value value;
    if (const Reason reason = EncodeValue(*column, json, &value); !reason.empty()) {
      status = Unencodable(*plan.mapping, row, column->name, reason);
      return false;
    }
    StartEntry(column->name, value.ByteSizeLong(), payload);
    value.AppendToString(&payload_);
    return true;
  });
  if (!is_object) return Unencodable(*plan.mapping, row, {}, kNoObject);
  if (!status.ok()) return status;
  for (size_t i = 0; i < seen.size(); ++i) {
    if (!seen[i]) AddNull(plan.columns[i].name, payload);
  }
  AddVarint(kSeqField, api::Value::kIntegerValueFieldNumber, static_cast<uint64_t>(seq), payload);
  return {};
}

Result<std::string_view> PointEncoder::Upsert(const Plan& plan, const RowId& row, int64_t seq,
                                              std::string_view image, std::string_view embedding) {
  Status payload = EncodePayload(plan, row, seq, image, api::PointStruct::kPayloadFieldNumber);
  if (!payload.ok()) return payload.error();
  if (Status sound = CheckEmbedding(*plan.mapping, row, embedding); !sound.ok())
    return sound.error();
  id_.clear();
  AppendPointId(*plan.mapping, row, id_);

  const std::string& name = plan.mapping->vector->name;
  const size_t dense = FieldSize(api::DenseVector::kDataFieldNumber, embedding.size());
  const size_t vector = FieldSize(api::Vector::kDenseFieldNumber, dense);
  const size_t entry = FieldSize(kEntryKey, name.size()) + FieldSize(kEntryValue, vector);
  const size_t named = FieldSize(api::NamedVectors::kVectorsFieldNumber, entry);
  const size_t vectors = name.empty() ? FieldSize(api::Vectors::kVectorFieldNumber, vector)
                                      : FieldSize(api::Vectors::kVectorsFieldNumber, named);
  const size_t point = FieldSize(api::PointStruct::kIdFieldNumber, id_.size()) + payload_.size() +
                       FieldSize(api::PointStruct::kVectorsFieldNumber, vectors);
  const size_t upsert = FieldSize(List::kPointsFieldNumber, point) +
                        FieldSize(List::kUpdateFilterFieldNumber, filter_.size());
  operation_.clear();
  Writer out(operation_);
  out.Header(Operation::kUpsertFieldNumber, upsert);
  out.Header(List::kPointsFieldNumber, point);
  out.Bytes(api::PointStruct::kIdFieldNumber, id_);
  operation_.append(payload_);
  out.Header(api::PointStruct::kVectorsFieldNumber, vectors);
  if (name.empty()) {
    out.Header(api::Vectors::kVectorFieldNumber, vector);
  } else {
    out.Header(api::Vectors::kVectorsFieldNumber, named);
    out.Header(api::NamedVectors::kVectorsFieldNumber, entry);
    out.Bytes(kEntryKey, name);
    out.Header(kEntryValue, vector);
  }
  out.Header(api::Vector::kDenseFieldNumber, dense);
  out.Bytes(api::DenseVector::kDataFieldNumber, embedding);
  out.Bytes(List::kUpdateFilterFieldNumber, filter_);
  return std::string_view(operation_);
}

/// This point alone, and where `filter_` allows it.
void PointEncoder::SelectOne(const Plan& plan, const RowId& row,
                             ::qdrant::PointsSelector& selector) const {
  api::Filter& filter = *selector.mutable_filter();
  *filter.add_must()->mutable_has_id()->add_has_id() = PointIdOf(*plan.mapping, row);
  filter.MergeFromString(filter_);
}

std::string_view PointEncoder::Delete(const Plan& plan, const RowId& row) {
  Operation operation;
  SelectOne(plan, row, *operation.mutable_delete_points()->mutable_points());
  operation_.clear();
  operation.AppendToString(&operation_);
  return operation_;
}

}  // namespace apex::qdrant
