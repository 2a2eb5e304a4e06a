#include "core/mapping.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace apex {
namespace {

using Json = nlohmann::json;

/// What is wrong and where; becomes the error of ParseMapping and goes no further.
struct Malformed {
  std::string member;
  std::string expected;
};

/// A JSON value and the path that led to it, so that a refusal can name it.
class Member {
 public:
  Member(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}

  bool IsNull() const { return json_.is_null(); }

  Member operator[](const char* name) const {
    if (!json_.is_object()) Fail("an object");
    const auto at = json_.find(name);
    static const Json null;
    return {at == json_.end() ? null : *at, path_.empty() ? name : path_ + "." + name};
  }

  std::string Text() const {
    if (!json_.is_string()) Fail("a string");
    return json_.get<std::string>();
  }

  std::string NonEmptyText() const {
    std::string text = Text();
    if (text.empty()) Fail("a string that is not empty");
    return text;
  }

  int64_t Integer(int64_t min, int64_t max) const {
    // An unsigned number beyond int64 would wrap in get().
    const bool fits =
        json_.is_number_integer() &&
        (!json_.is_number_unsigned() ||
         json_.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    if (!fits || json_.get<int64_t>() < min || json_.get<int64_t>() > max) {
      Fail("an integer from " + std::to_string(min) + " to " + std::to_string(max));
    }
    return json_.get<int64_t>();
  }

  template <typename Convert>
  auto List(Convert convert) const {
    std::vector<decltype(convert(*this))> list;
    if (!json_.is_array()) Fail("an array");
    list.reserve(json_.size());
    for (size_t i = 0; i < json_.size(); ++i) {
      list.push_back(convert(Member(json_[i], path_ + "[" + std::to_string(i) + "]")));
    }
    return list;
  }

  std::vector<std::string> Texts() const {
    return List([](const Member& each) { return each.Text(); });
  }
  /// Absent and null are an empty list.
  std::vector<std::string> TextsIfAny() const {
    return IsNull() ? std::vector<std::string>{} : Texts();
  }

  template <typename Value, size_t kSize>
  Value OneOf(const std::array<std::pair<const char*, Value>, kSize>& names) const {
    std::string expected;
    for (const auto& [name, value] : names) {
      if (json_.is_string() && json_ == name) return value;
      expected.append(expected.empty() ? "" : ", ").append(name);
    }
    Fail("one of " + expected);
  }

  [[noreturn]] void Fail(std::string expected) const {
    throw Malformed{path_, std::move(expected)};
  }

 private:
  const Json& json_;
  std::string path_;
};

constexpr std::array<std::pair<const char*, ColumnKind>, 12> kColumnKinds = {{
    {"bool", ColumnKind::kBool},
    {"int", ColumnKind::kInt},
    {"float", ColumnKind::kFloat},
    {"numeric", ColumnKind::kNumeric},
    {"uuid", ColumnKind::kUuid},
    {"text", ColumnKind::kText},
    {"json", ColumnKind::kJson},
    {"jsonb", ColumnKind::kJsonb},
    {"timestamptz", ColumnKind::kTimestamptz},
    {"timestamp", ColumnKind::kTimestamp},
    {"date", ColumnKind::kDate},
    {"other", ColumnKind::kOther},
}};

constexpr std::array<std::pair<const char*, Distance>, 4> kDistances = {{
    {"cosine", Distance::kCosine},
    {"dot", Distance::kDot},
    {"euclid", Distance::kEuclid},
    {"manhattan", Distance::kManhattan},
}};

constexpr std::array<std::pair<const char*, CacheMode>, 2> kCacheModes = {{
    {"invalidate", CacheMode::kInvalidate},
    {"write", CacheMode::kWrite},
}};

constexpr std::array<std::pair<const char*, bool>, 2> kGraphKinds = {
    {{"node", true}, {"edge", false}}};

Column ParseColumn(const Member& json) {
  Column column;
  column.name = json["column"].NonEmptyText();
  Json kind = json["kind"].Text();
  auto& text = kind.get_ref<std::string&>();
  if (text.ends_with("[]")) {
    column.is_array = true;
    text.resize(text.size() - 2);
  }
  column.kind = Member(kind, "kind of column " + column.name).OneOf(kColumnKinds);
  return column;
}

/// `columns` is named "via" in a relation.
Endpoint ParseEndpoint(const Member& json, const char* columns) {
  Endpoint endpoint{json[columns].Texts(), json["label"].NonEmptyText(), json["key"].Texts()};
  if (endpoint.columns.empty() || endpoint.columns.size() != endpoint.key.size()) {
    json[columns].Fail("as many columns as the key of " + endpoint.label + " has");
  }
  return endpoint;
}

NodeMapping ParseNode(const Member& json) {
  NodeMapping node;
  node.label = json["label"].NonEmptyText();
  node.properties = json["properties"].TextsIfAny();
  if (!json["relations"].IsNull()) {
    node.relations = json["relations"].List([](const Member& each) {
      return RelationMapping{each["type"].NonEmptyText(), ParseEndpoint(each, "via")};
    });
  }
  return node;
}

EdgeMapping ParseEdge(const Member& json) {
  return {json["type"].NonEmptyText(), json["properties"].TextsIfAny(),
          ParseEndpoint(json["from"], "columns"), ParseEndpoint(json["to"], "columns")};
}

VectorMapping ParseVector(const Member& json) {
  VectorMapping vector;
  vector.collection = json["collection"].NonEmptyText();
  vector.embedding = json["embedding"].NonEmptyText();
  if (const Member name = json["name"]; !name.IsNull()) vector.name = name.NonEmptyText();
  vector.dimensions = static_cast<uint32_t>(json["dimensions"].Integer(1, 65536));
  vector.distance = json["distance"].OneOf(kDistances);
  vector.payload = json["payload"].TextsIfAny();
  return vector;
}

CacheMapping ParseCache(const Member& json) {
  CacheMapping cache;
  cache.entity = json["entity"].NonEmptyText();
  cache.mode = json["mode"].OneOf(kCacheModes);
  if (!json["entry"].IsNull()) cache.entry = json["entry"].Text();
  if (!json["ttl_seconds"].IsNull()) {
    cache.ttl_seconds = json["ttl_seconds"].Integer(1, std::numeric_limits<int64_t>::max() / 1000);
  }
  cache.columns = json["columns"].TextsIfAny();
  cache.invalidate = json["invalidate"].TextsIfAny();
  cache.events = json["events"].TextsIfAny();
  if (!json["ttl_column"].IsNull()) cache.ttl_column = json["ttl_column"].Text();
  cache.tags = json["tags"].TextsIfAny();
  return cache;
}

void RequireColumns(const TableMapping& mapping, const std::vector<std::string>& names,
                    const char* member) {
  for (const std::string& name : names) {
    if (mapping.FindColumn(name) == nullptr)
      throw Malformed{member, "columns of the table, not " + name};
  }
}

/// The stores look columns up by the names they are given here and rely on finding them.
void RequireKnownColumns(const TableMapping& mapping) {
  for (const Column& key : mapping.key) RequireColumns(mapping, {key.name}, "key");
  if (mapping.node) {
    RequireColumns(mapping, mapping.node->properties, "graph.properties");
    for (const RelationMapping& relation : mapping.node->relations) {
      RequireColumns(mapping, relation.to.columns, "graph.relations");
    }
  }
  if (mapping.edge) {
    RequireColumns(mapping, mapping.edge->properties, "graph.properties");
    RequireColumns(mapping, mapping.edge->from.columns, "graph.from");
    RequireColumns(mapping, mapping.edge->to.columns, "graph.to");
  }
  if (mapping.vector) RequireColumns(mapping, mapping.vector->payload, "vector.payload");
  if (mapping.cache) {
    RequireColumns(mapping, mapping.cache->columns, "cache.columns");
    if (!mapping.cache->ttl_column.empty())
      RequireColumns(mapping, {mapping.cache->ttl_column}, "cache.ttl_column");
  }
}

void ParseSpec(const Member& spec, TableMapping& mapping) {
  mapping.table = spec["table"].NonEmptyText();
  mapping.key = spec["key"].List(ParseColumn);
  if (mapping.key.empty()) spec["key"].Fail("at least one column");
  mapping.columns = spec["columns"].List(ParseColumn);
  if (const Member graph = spec["graph"]; !graph.IsNull()) {
    if (graph["kind"].OneOf(kGraphKinds)) {
      mapping.node = ParseNode(graph);
    } else {
      mapping.edge = ParseEdge(graph);
    }
  }
  if (const Member vector = spec["vector"]; !vector.IsNull()) mapping.vector = ParseVector(vector);
  if (const Member cache = spec["cache"]; !cache.IsNull()) mapping.cache = ParseCache(cache);
  RequireKnownColumns(mapping);
}

}  // namespace

const Column* TableMapping::FindColumn(std::string_view name) const {
  const auto at = std::find_if(columns.begin(), columns.end(),
                               [name](const Column& each) { return each.name == name; });
  return at == columns.end() ? nullptr : &*at;
}

Result<TableMapping> ParseMapping(int32_t id, uint32_t relation, std::string pipeline, bool active,
                                  std::string on_failure, std::string_view spec_json) {
  const auto malformed = [id](const std::string& what) {
    return StoreError{Store::kPostgres,
                      "parse mapping",
                      ErrorKind::kPermanent,
                      "apex.mapping",
                      "mapping " + std::to_string(id) + ": " + what,
                      std::nullopt};
  };
  const Json spec = Json::parse(spec_json, nullptr, /*allow_exceptions=*/false);
  if (spec.is_discarded()) return malformed("spec is not JSON");

  TableMapping mapping;
  mapping.id = id;
  mapping.relation = relation;
  mapping.pipeline = std::move(pipeline);
  mapping.active = active;
  mapping.on_failure = std::move(on_failure);
  try {
    ParseSpec(Member(spec, ""), mapping);
  } catch (const Malformed& error) {
    return malformed((error.member.empty() ? "spec" : error.member) + " has to be " +
                     error.expected);
  }
  return mapping;
}

}  // namespace apex
