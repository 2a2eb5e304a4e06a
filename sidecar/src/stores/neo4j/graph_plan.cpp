#include "stores/neo4j/graph_plan.h"

#include <algorithm>
#include <utility>

#include "stores/neo4j/errors.h"
#include "stores/neo4j/packstream.h"

namespace apex::neo4j {
namespace {

using packstream::Writer;
using Names = std::vector<std::string>;

/// Of a map with the member `rows`, before the first row.
constexpr size_t kParametersHead = 24;

/// The column's place among the wanted ones, where it is added when it is new.
size_t Want(GraphPlan& plan, const std::string& name) {
  const auto found = std::ranges::find(plan.wanted, name, &Column::name);
  if (found != plan.wanted.end()) return static_cast<size_t>(found - plan.wanted.begin());
  const Column* column = plan.mapping->FindColumn(name);
  plan.wanted.push_back(column == nullptr
                            ? Column{.name = name, .kind = ColumnKind::kText, .is_array = false}
                            : *column);
  return plan.wanted.size() - 1;
}

std::vector<size_t> WantAll(GraphPlan& plan, const Names& names) {
  std::vector<size_t> places;
  for (const std::string& name : names) places.push_back(Want(plan, name));
  return places;
}

/// Integers and times keep their type in a key; documents and arrays, which the outbox writes there
/// as text, stay text.
Column KeyColumn(Column column) {
  if (column.is_array || column.kind == ColumnKind::kJsonb) column.kind = ColumnKind::kText;
  column.is_array = false;
  return column;
}

bool AnyNull(const EncodedImage& image, const std::vector<size_t>& columns) {
  return std::ranges::any_of(columns, [&image](size_t column) { return image[column].empty(); });
}

void WriteInt(Writer& out, std::string_view name, int64_t value) {
  out.String(name);
  out.Int(value);
}

void WriteKey(Writer& out, const GraphPlan& plan, const EncodedImage& key) {
  out.String("k");
  out.ListHeader(plan.key.size());
  for (size_t i = 0; i < plan.key.size(); ++i) out.Raw(key[i]);
}

void WriteRange(Writer& out, const RowTask& task) {
  WriteInt(out, "a", task.above);
  WriteInt(out, "b", task.upto);
}

void WriteColumns(Writer& out, const EncodedImage& image, const std::vector<size_t>& columns) {
  out.ListHeader(columns.size());
  for (size_t column : columns) out.Raw(image[column]);
}

void WriteProperties(std::string& bytes, const GraphPlan& plan, const EncodedImage& image) {
  Writer out(bytes);
  out.String("p");
  out.MapHeader(plan.properties.size());
  for (const Property& property : plan.properties) {
    out.String(property.name);
    image.AppendTo(bytes, property.column);
  }
}

}  // namespace

std::vector<std::string> Targets(const RelationPlan& relation, const EncodedImage* image) {
  std::vector<std::string> targets;
  for (const std::vector<size_t>& columns : relation.foreign_keys) {
    if (image == nullptr || AnyNull(*image, columns)) continue;
    std::string target;
    Writer out(target);
    WriteColumns(out, *image, columns);
    if (std::ranges::find(targets, target) == targets.end()) targets.push_back(std::move(target));
  }
  return targets;
}

std::unique_ptr<const GraphPlan> MakePlan(MappingPtr mapping) {
  if (!mapping->node && !mapping->edge) return nullptr;
  auto plan = std::make_unique<GraphPlan>();
  plan->mapping = std::move(mapping);
  const TableMapping& table = *plan->mapping;
  Names key;
  for (const Column& column : table.key) {
    key.push_back(column.name);
    plan->key.push_back(KeyColumn(column));
  }
  const Names& properties = table.node ? table.node->properties : table.edge->properties;
  for (const std::string& property : properties) {
    // The key is written by the statement that finds the node.
    if (std::ranges::find(key, property) != key.end()) continue;
    plan->properties.push_back(Property{property, Want(*plan, property)});
  }
  if (table.node) {
    NodePlan& node = plan->node.emplace();
    node.upsert = UpsertNodes(table.node->label, key);
    node.clear = ClearNodes(table.node->label, key, properties);
    node.erase = EraseNodes(table.node->label, key);
    const std::vector<RelationGroup> groups = GroupRelations(*table.node);
    plan->truncate = TruncateNodes(table.node->label, key, properties, groups);
    for (const RelationGroup& group : groups) {
      RelationPlan relation{PruneRelations(table.node->label, key, group),
                            RelateNodes(table.node->label, key, group),
                            {}};
      for (const Names& columns : group.foreign_keys)
        relation.foreign_keys.push_back(WantAll(*plan, columns));
      node.relations.push_back(std::move(relation));
    }
  } else {
    EdgePlan& edge = plan->edge.emplace();
    edge.unlink = UnlinkEdges(*table.edge, key);
    edge.put = PutEdges(*table.edge, key);
    plan->truncate = TruncateEdges(*table.edge);
    edge.from = WantAll(*plan, table.edge->from.columns);
    edge.to = WantAll(*plan, table.edge->to.columns);
  }
  return plan;
}

Status TransactionBuilder::Add(const RowTask& task) {
  const RowName name{task.plan->mapping->table, task.row->key};
  Result<EncodedImage> key = encoder_.EncodeKey(task.row->key, task.plan->key, name);
  if (!key.ok()) return key.error();
  std::optional<EncodedImage> image;
  if (task.image) {
    Result<EncodedImage> encoded = encoder_.Encode(*task.image, task.plan->wanted, name);
    if (!encoded.ok()) return encoded.error();
    image = *std::move(encoded);
  }
  // Bounded by what comes in: a row is written a few times, its properties once.
  bytes_ += task.row->key.size() + task.image.value_or("").size();
  if (bytes_ > kTransactionBytesMax) {
    return MakeError("encode", ErrorKind::kPermanent, kTooLarge,
                     "these rows are together larger than the " +
                         std::to_string(kTransactionBytesMax >> 20) +
                         " MiB that one transaction may carry");
  }
  const EncodedImage* present = image ? &*image : nullptr;
  if (task.plan->node) {
    AddNode(task, *key, present);
  } else {
    AddEdge(task, *key, present);
  }
  return {};
}

void TransactionBuilder::AddNode(const RowTask& task, const EncodedImage& key,
                                 const EncodedImage* image) {
  const NodePlan& node = *task.plan->node;
  std::string& bytes = NextRow(Phase::kNodes, image != nullptr ? node.upsert : node.clear);
  Writer out(bytes);
  out.MapHeader(image != nullptr ? 5 : 4);
  WriteKey(out, *task.plan, key);
  WriteRange(out, task);
  WriteInt(out, "s", task.version);
  if (image != nullptr) WriteProperties(bytes, *task.plan, *image);

  for (const RelationPlan& relation : node.relations) {
    Writer row(image == nullptr ? NextRow(Phase::kPrune, relation.prune)
                                : NextRow(Phase::kRelate, relation.relate));
    row.MapHeader(image == nullptr ? 2 : 3);
    WriteKey(row, *task.plan, key);
    WriteInt(row, "s", task.version);
    if (image == nullptr) continue;
    const std::vector<std::string> targets = Targets(relation, image);
    row.String("t");
    row.ListHeader(targets.size());
    for (const std::string& target : targets) row.Raw(target);
  }
  if (image != nullptr) return;
  Writer erase(NextRow(Phase::kErase, node.erase));
  erase.MapHeader(2);
  WriteKey(erase, *task.plan, key);
  WriteInt(erase, "s", task.version);
}

void TransactionBuilder::AddEdge(const RowTask& task, const EncodedImage& key,
                                 const EncodedImage* image) {
  const EdgePlan& edge = *task.plan->edge;
  // A join row that points nowhere makes no relationship.
  const bool linked = image != nullptr && !AnyNull(*image, edge.from) && !AnyNull(*image, edge.to);
  const auto write_ends = [&](Writer& out) {
    out.String("f");
    linked ? WriteColumns(out, *image, edge.from) : out.ListHeader(0);
    out.String("t");
    linked ? WriteColumns(out, *image, edge.to) : out.ListHeader(0);
  };
  Writer unlink(NextRow(Phase::kUnlink, edge.unlink));
  unlink.MapHeader(5);
  WriteKey(unlink, *task.plan, key);
  WriteRange(unlink, task);
  write_ends(unlink);
  if (!linked) return;

  std::string& bytes = NextRow(Phase::kEdges, edge.put);
  Writer put(bytes);
  put.MapHeader(7);
  WriteKey(put, *task.plan, key);
  WriteRange(put, task);
  WriteInt(put, "s", task.version);
  write_ends(put);
  WriteProperties(bytes, *task.plan, *image);
}

std::string& TransactionBuilder::NextRow(Phase phase, const std::string& cypher) {
  const auto [rows, added] = rows_.try_emplace({phase, &cypher});
  if (added) order_.emplace_back(phase, &cypher);
  std::vector<Rows::Part>& parts = rows->second.parts;
  if (parts.empty() || parts.back().count == kStatementRowsMax ||
      parts.back().bytes.size() >= kStatementBytesMax) {
    parts.emplace_back();
  }
  ++parts.back().count;
  return parts.back().bytes;
}

void TransactionBuilder::Finish(std::vector<Statement>& statements) {
  std::ranges::stable_sort(order_, {}, [](const auto& entry) { return entry.first; });
  for (const auto& entry : order_) {
    for (const Rows::Part& part : rows_[entry].parts) {
      Statement statement{
          .cypher = *entry.second, .parameters = {}, .rows = static_cast<int64_t>(part.count)};
      statement.parameters.reserve(part.bytes.size() + kParametersHead);
      Writer out(statement.parameters);
      out.MapHeader(1);
      out.String("batch");
      out.MapHeader(1);
      out.String("rows");
      out.ListHeader(part.count);
      out.Raw(part.bytes);
      statements.push_back(std::move(statement));
    }
  }
}

std::string TruncateParameters(int64_t below_seq, int64_t limit) {
  std::string parameters;
  Writer out(parameters);
  out.MapHeader(2);
  WriteInt(out, "seq", below_seq);
  WriteInt(out, "limit", limit);
  return parameters;
}

std::string PipelineParameters(
    std::string_view name, std::initializer_list<std::pair<std::string_view, int64_t>> numbers) {
  std::string parameters;
  Writer out(parameters);
  out.MapHeader(1 + numbers.size());
  out.String("name");
  out.String(name);
  for (const auto& [number_name, number] : numbers) WriteInt(out, number_name, number);
  return parameters;
}

}  // namespace apex::neo4j
