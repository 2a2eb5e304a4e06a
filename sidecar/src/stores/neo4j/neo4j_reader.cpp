#include "stores/neo4j/neo4j_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "stores/neo4j/errors.h"
#include "stores/neo4j/value_text.h"

namespace apex::neo4j {
namespace {

using packstream::List;
using packstream::Value;
using packstream::Writer;
using Names = std::vector<std::string>;

constexpr int64_t kPageRecords = 1000;

/// [x.`a`, x.`b`]
std::string Properties(std::string_view variable, const Names& names) {
  Names members;
  for (const std::string& name : names)
    members.push_back(fmt::format("{}.{}", variable, Quote(name)));
  return fmt::format("[{}]", fmt::join(members, ", "));
}

Names KeyNames(const GraphPlan& plan) {
  Names names;
  for (const Column& column : plan.key) names.push_back(column.name);
  return names;
}

Names PropertyNames(const GraphPlan& plan) {
  Names names;
  for (const Property& property : plan.properties) names.push_back(property.name);
  return names;
}

/// {`a`: k[0], `b`: k[1]}
std::string ByKey(const Names& key) {
  Names members;
  for (size_t i = 0; i < key.size(); ++i)
    members.push_back(fmt::format("{}: k[{}]", Quote(key[i]), i));
  return fmt::format("{{{}}}", fmt::join(members, ", "));
}

/// What every query returns: key, version, properties, and the keys at the other ends.
constexpr std::string_view kReturn = "RETURN {} AS k, {}._apex_seq AS s, {} AS p, {} AS r";

std::string NodeReturn(const GraphPlan& plan, const std::vector<RelationGroup>& groups) {
  Names relations;
  for (const RelationGroup& group : groups) {
    relations.push_back(fmt::format("[(n)-[x:{}]->(m:{}) WHERE x._apex_seq IS NOT NULL | {}]",
                                    Quote(group.type), Quote(group.label),
                                    Properties("m", group.key)));
  }
  return fmt::format(kReturn, Properties("n", KeyNames(plan)), "n",
                     Properties("n", PropertyNames(plan)),
                     fmt::format("[{}]", fmt::join(relations, ", ")));
}

std::string EdgeReturn(const GraphPlan& plan, const EdgeMapping& edge) {
  return fmt::format(
      kReturn, Properties("n", KeyNames(plan)), "n", Properties("n", PropertyNames(plan)),
      fmt::format("[[{}], [{}]]", Properties("f", edge.from.key), Properties("t", edge.to.key)));
}

std::string ShowKeys(std::vector<std::string> keys) {
  std::ranges::sort(keys);
  return fmt::format("{}", fmt::join(keys, ", "));
}

/// A statement's own text of the keys it found at the other ends.
std::string ShowEnds(const Value& ends) {
  std::vector<std::string> keys;
  if (const auto* list = ends.As<List>()) {
    for (const Value& key : *list) keys.push_back(ShowValue(key));
  }
  return ShowKeys(std::move(keys));
}

std::string ShowColumns(const EncodedImage& image, const std::vector<size_t>& columns) {
  Names shown;
  for (const size_t column : columns) shown.push_back(ShowEncoded(image[column]));
  return fmt::format("[{}]", fmt::join(shown, ", "));
}

void AddField(StoredRow& row, const std::string& name, std::string text) {
  row.fields.push_back({name, std::move(text)});
}

/// A property that is not there is one that is NULL.
StoredRow ParseRecord(const List& record, const GraphPlan& plan, const Names& relations) {
  StoredRow row;
  const auto* key = record[0].As<List>();
  const auto* properties = record[2].As<List>();
  const auto* ends = record[3].As<List>();
  row.name = ShowValue(record[0]);
  Names parts;
  for (const Value& part : *key) {
    if (const auto json = KeyJson(part)) parts.push_back(*json);
  }
  if (parts.size() == key->size()) row.key = fmt::format("[{}]", fmt::join(parts, ","));
  if (const auto* version = record[1].As<int64_t>()) row.version = *version;
  for (size_t i = 0; i < plan.properties.size(); ++i)
    AddField(row, plan.properties[i].name, ShowValue((*properties)[i]));
  for (size_t i = 0; i < relations.size(); ++i) AddField(row, relations[i], ShowEnds((*ends)[i]));
  std::ranges::sort(row.fields);
  return row;
}

bool IsRecord(const List& record, const GraphPlan& plan, const Names& relations) {
  if (record.size() != 4) return false;
  const auto* key = record[0].As<List>();
  const auto* properties = record[2].As<List>();
  const auto* ends = record[3].As<List>();
  return key != nullptr && properties != nullptr && ends != nullptr &&
         properties->size() == plan.properties.size() && ends->size() == relations.size();
}

}  // namespace

Neo4jReader::Neo4jReader(Options options) : database_(options.database) {
  Result<Uri> uri = ParseUri(options.uri);
  if (!uri.ok()) {
    configuration_error_ = uri.error();
    return;
  }
  router_.emplace(*std::move(uri),
                  Credentials{std::move(options.user), std::move(options.password)}, database_);
}

Status Neo4jReader::Connect() {
  if (configuration_error_) return *configuration_error_;
  if (connection_ != nullptr && (connection_->broken() || !connection_->StillOpen()))
    connection_.reset();
  if (connection_ != nullptr) return {};
  Result<std::unique_ptr<BoltConnection>> opened = router_->Open(Deadline::After(kReadTimeout));
  if (!opened.ok()) return opened.error();
  connection_ = *std::move(opened);
  // Times are compared as this server counts them.
  encoder_.set_utc_datetimes(connection_->utc_datetimes());
  return {};
}

Result<const Neo4jReader::View*> Neo4jReader::ViewOf(const MappingPtr& mapping) {
  if (Status connected = Connect(); !connected.ok()) return connected.error();
  if (const auto known = views_.find(mapping.get()); known != views_.end()) return &known->second;
  View view;
  view.plan = MakePlan(mapping);
  const GraphPlan& plan = *view.plan;
  const Names key = KeyNames(plan);
  if (mapping->node) {
    const std::vector<RelationGroup> groups = GroupRelations(*mapping->node);
    for (const RelationGroup& group : groups)
      view.relations.push_back(fmt::format("-[:{}]->(:{})", group.type, group.label));
    const std::string found = NodeReturn(plan, groups);
    const std::string label = Quote(mapping->node->label);
    // A node that has more than its key and no version is no stub.
    view.read_all =
        fmt::format("MATCH (n:{}) WHERE n._apex_seq IS NOT NULL OR size(keys(n)) > {}\n{}", label,
                    key.size(), found);
    view.read_these = fmt::format(
        "UNWIND $keys AS k MATCH (n:{} {}) WHERE n._apex_seq IS NOT NULL OR "
        "size(keys(n)) > {}\n{}",
        label, ByKey(key), key.size(), found);
  } else {
    const EdgeMapping& edge = *mapping->edge;
    view.relations = {"from", "to"};
    const std::string found = EdgeReturn(plan, edge);
    const auto pattern = [&](std::string_view condition) {
      return fmt::format("MATCH (f:{})-[n:{}{}]->(t:{})", Quote(edge.from.label), Quote(edge.type),
                         condition, Quote(edge.to.label));
    };
    view.read_all = fmt::format("{} WHERE n._apex_seq IS NOT NULL\n{}", pattern(""), found);
    view.read_these = fmt::format("UNWIND $keys AS k {}\n{}", pattern(" " + ByKey(key)), found);
  }
  return &views_.emplace(mapping.get(), std::move(view)).first->second;
}

Result<std::optional<StoredRow>> Neo4jReader::Expected(const ChangePtr& row) {
  Result<const View*> found = ViewOf(row->mapping);
  if (!found.ok()) return found.error();
  const View& view = **found;
  const GraphPlan& plan = *view.plan;
  const RowName name{row->mapping->table, row->row.key};
  Result<EncodedImage> key = encoder_.EncodeKey(row->row.key, plan.key, name);
  if (!key.ok()) return key.error();
  Result<EncodedImage> image = encoder_.Encode(row->after.value_or("{}"), plan.wanted, name);
  if (!image.ok()) return image.error();

  StoredRow expected;
  std::vector<size_t> key_columns(plan.key.size());
  for (size_t i = 0; i < key_columns.size(); ++i) key_columns[i] = i;
  expected.name = ShowColumns(*key, key_columns);
  expected.key = row->row.key;
  expected.version = row->seq;
  for (const Property& property : plan.properties)
    AddField(expected, property.name, ShowEncoded((*image)[property.column]));
  if (plan.node) {
    for (size_t i = 0; i < view.relations.size(); ++i) {
      std::vector<std::string> keys;
      for (const std::string& target : Targets(plan.node->relations[i], &*image))
        keys.push_back(ShowEncoded(target));
      AddField(expected, view.relations[i], ShowKeys(std::move(keys)));
    }
  } else {
    for (const std::vector<size_t>* ends : {&plan.edge->from, &plan.edge->to}) {
      // A join row that points nowhere makes no relationship.
      for (const size_t column : *ends) {
        if ((*image)[column].empty()) return std::optional<StoredRow>();
      }
    }
    AddField(expected, "from", ShowColumns(*image, plan.edge->from));
    AddField(expected, "to", ShowColumns(*image, plan.edge->to));
  }
  std::ranges::sort(expected.fields);
  return std::optional(std::move(expected));
}

Status Neo4jReader::ReadAll(const MappingPtr& mapping, const Page& page) {
  Result<const View*> view = ViewOf(mapping);
  if (!view.ok()) return view.error();
  std::string parameters;
  Writer(parameters).MapHeader(0);
  return Stream((*view)->read_all, std::move(parameters), page, **view);
}

Result<std::vector<StoredRow>> Neo4jReader::ReadThese(const MappingPtr& mapping,
                                                      std::span<const StoredRow> rows) {
  Result<const View*> view = ViewOf(mapping);
  if (!view.ok()) return view.error();
  std::string keys;
  size_t count = 0;
  for (const StoredRow& row : rows) {
    if (!row.key) continue;
    Result<EncodedImage> key =
        encoder_.EncodeKey(*row.key, (*view)->plan->key, {mapping->table, *row.key});
    if (!key.ok()) continue;  // Nothing is found by what cannot be a key.
    Writer out(keys);
    out.ListHeader((*view)->plan->key.size());
    for (size_t i = 0; i < (*view)->plan->key.size(); ++i) out.Raw((*key)[i]);
    ++count;
  }
  std::string parameters;
  Writer out(parameters);
  out.MapHeader(1);
  out.String("keys");
  out.ListHeader(count);
  out.Raw(keys);
  std::vector<StoredRow> found;
  const Page collect = [&found](std::vector<StoredRow> read) -> Status {
    std::ranges::move(read, std::back_inserter(found));
    return {};
  };
  if (Status status = Stream((*view)->read_these, std::move(parameters), collect, **view);
      !status.ok()) {
    return status.error();
  }
  return found;
}

Result<std::vector<std::string>> Neo4jReader::ReadStubs(const MappingPtr& mapping,
                                                        size_t count_max) {
  std::vector<std::string> stubs;
  if (!mapping->node) return stubs;
  Result<const View*> view = ViewOf(mapping);
  if (!view.ok()) return view.error();
  const Names key = KeyNames(*(*view)->plan);
  const std::string cypher = fmt::format(
      "MATCH (n:{}) WHERE n._apex_seq IS NULL AND size(keys(n)) <= {} RETURN {} AS k LIMIT {}",
      Quote(mapping->node->label), key.size(), Properties("n", key), count_max);
  std::string parameters;
  Writer(parameters).MapHeader(0);
  Result<Records> records = connection_->Run(database_, Statement{cypher, std::move(parameters), 0},
                                             "read", Deadline::After(kReadTimeout));
  if (!records.ok()) return records.error();
  for (const List& record : *records) stubs.push_back(ShowValue(record.front()));
  return stubs;
}

Status Neo4jReader::Stream(const std::string& cypher, std::string parameters, const Page& page,
                           const View& view) {
  const auto on_page = [&](const Records& records) -> Status {
    std::vector<StoredRow> rows;
    rows.reserve(records.size());
    for (const List& record : records) {
      if (!IsRecord(record, *view.plan, view.relations)) {
        return MakeError("read", ErrorKind::kTransient, kProtocol,
                         "a record is not what was asked for");
      }
      rows.push_back(ParseRecord(record, *view.plan, view.relations));
    }
    return page(std::move(rows));
  };
  return connection_->Stream(database_, Statement{cypher, std::move(parameters), 0}, "read",
                             kPageRecords, kReadTimeout, on_page);
}

}  // namespace apex::neo4j
