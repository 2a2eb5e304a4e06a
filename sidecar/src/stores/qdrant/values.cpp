#include "stores/qdrant/values.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace apex::qdrant {
namespace {

using Json = nlohmann::json;
using ::qdrant::Value;

constexpr std::string_view kOutOfRange =
    "json with a number beyond a double, or with half a surrogate pair";

Reason TooDeep() { return "json nested deeper than " + std::to_string(kNestingMax) + " levels"; }

/// A json or jsonb value as it is, inside `depth` lists and objects.
Reason EncodeNative(const Json& json, int depth, Value* out) {
  if (depth > kNestingMax) return TooDeep();
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

Reason EncodeText(ColumnKind kind, const std::string& text, int depth, Value* out) {
  const bool is_date = kind == ColumnKind::kTimestamptz || kind == ColumnKind::kTimestamp ||
                       kind == ColumnKind::kDate;
  if (is_date && (text == "infinity" || text == "-infinity"))
    return "Qdrant holds no infinite dates";
  if (kind == ColumnKind::kJson) {
    const Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded()) return std::string(kOutOfRange);
    return EncodeNative(parsed, depth, out);
  }
  out->set_string_value(text);
  return {};
}

/// One element of a column. A float that is not a number came as a string and stays one: a JSON
/// payload has no other way.
Reason EncodeScalar(ColumnKind kind, const Json& json, int depth, Value* out) {
  if (json.is_null()) {
    out->set_null_value(::qdrant::NULL_VALUE);
    return {};
  }
  if (kind == ColumnKind::kJsonb) return EncodeNative(json, depth, out);
  if (json.is_string()) return EncodeText(kind, json.get_ref<const std::string&>(), depth, out);
  if (kind == ColumnKind::kFloat && json.is_number()) {
    out->set_double_value(json.get<double>());
    return {};
  }
  if ((kind == ColumnKind::kInt && json.is_number_integer()) ||
      (kind == ColumnKind::kBool && json.is_boolean())) {
    return EncodeNative(json, depth, out);
  }
  return "unexpected value " + json.dump();
}

Reason EncodeValue(const Column& column, const Json& json, int depth, Value* out) {
  // A multidimensional array is a list of lists.
  if (!column.is_array || !json.is_array()) return EncodeScalar(column.kind, json, depth, out);
  if (depth > kNestingMax) return TooDeep();
  auto* list = out->mutable_list_value();
  for (const Json& item : json) {
    if (Reason reason = EncodeValue(column, item, depth + 1, list->add_values()); !reason.empty())
      return reason;
  }
  return {};
}

}  // namespace

Reason EncodeValue(const Column& column, std::string_view text, Value* out) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? std::string(kOutOfRange) : EncodeValue(column, json, 0, out);
}

}  // namespace apex::qdrant
