#include "stores/neo4j/cypher.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace apex::neo4j {
namespace {

using Names = std::vector<std::string>;

/// {`a`: list[0], `b`: list[1]}
std::string PatternOf(const Names& key, std::string_view list) {
  Names members;
  for (size_t i = 0; i < key.size(); ++i)
    members.push_back(fmt::format("{}: {}[{}]", Quote(key[i]), list, i));
  return fmt::format("{{{}}}", fmt::join(members, ", "));
}

/// {`a`: row.k[0], `b`: row.k[1]}
std::string Pattern(const Names& key, std::string_view member) {
  return PatternOf(key, fmt::format("row.{}", member));
}

/// [n.`a`, n.`b`]
std::string KeyOf(std::string_view variable, const Names& key) {
  Names members;
  for (const std::string& name : key)
    members.push_back(fmt::format("{}.{}", variable, Quote(name)));
  return fmt::format("[{}]", fmt::join(members, ", "));
}

/// (`a`, `b`) of a constraint or an index.
std::string SchemaKey(std::string_view variable, const Names& key) {
  Names members;
  for (const std::string& name : key)
    members.push_back(fmt::format("{}.{}", variable, Quote(name)));
  return fmt::format("({})", fmt::join(members, ", "));
}

/// The version that `variable` holds may be replaced.
std::string Replaceable(std::string_view variable) {
  return fmt::format(
      "({0}._apex_seq IS NULL OR (row.a < {0}._apex_seq AND {0}._apex_seq <= row.b))", variable);
}

/// FOREACH is Cypher's only `if` that keeps the row when the answer is no.
std::string When(std::string_view condition, std::string_view updates) {
  return fmt::format("FOREACH (_ IN CASE WHEN {} THEN [1] ELSE [] END | {})\n", condition, updates);
}

/// How statements begin that find their nodes by a constraint of theirs. Planning takes Neo4j up to
/// hundreds of milliseconds. It would plan anew every ten seconds while a graph grows, though no
/// count of nodes makes another plan better, and once more for every length of a parameter that is
/// a list (1, 10, 100, 1000); the length of one inside a map it does not look at.
constexpr std::string_view kRows = "CYPHER replan=skip\nUNWIND $batch.rows AS row\n";

/// The nodes of list `nodes` that are stubs nobody needs.
std::string UnusedStubs(std::string_view nodes, size_t key_columns) {
  return fmt::format("[x IN {} WHERE x._apex_seq IS NULL AND size(keys(x)) = {} AND NOT (x)--()]",
                     nodes, key_columns);
}

std::string RemoveProperties(const Names& key, const Names& properties) {
  std::string removals;
  for (const std::string& property : properties) {
    if (std::ranges::find(key, property) == key.end())
      removals += fmt::format(" REMOVE n.{}", Quote(property));
  }
  return removals;
}

std::string UniqueConstraint(const std::string& label, const Names& key) {
  return fmt::format("CREATE CONSTRAINT IF NOT EXISTS FOR (n:{}) REQUIRE {} IS UNIQUE",
                     Quote(label), SchemaKey("n", key));
}

Names KeyNames(const TableMapping& mapping) {
  Names names;
  for (const Column& column : mapping.key) names.push_back(column.name);
  return names;
}

}  // namespace

std::string Quote(std::string_view name) {
  std::string quoted = "`";
  for (char c : name) {
    if (c == '`') quoted.push_back('`');
    quoted.push_back(c);
  }
  quoted.push_back('`');
  return quoted;
}

std::vector<RelationGroup> GroupRelations(const NodeMapping& node) {
  std::vector<RelationGroup> groups;
  for (const RelationMapping& relation : node.relations) {
    auto group = std::ranges::find_if(groups, [&relation](const RelationGroup& candidate) {
      return candidate.type == relation.type && candidate.label == relation.to.label &&
             candidate.key == relation.to.key;
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(),
                            RelationGroup{relation.type, relation.to.label, relation.to.key, {}});
    }
    group->foreign_keys.push_back(relation.to.columns);
  }
  return groups;
}

std::string UpsertNodes(const std::string& label, const Names& key) {
  return fmt::format("{}MERGE (n:{} {})\n", kRows, Quote(label), Pattern(key, "k")) +
         When(Replaceable("n"), "SET n += row.p, n._apex_seq = row.s") + "RETURN count(*) AS rows";
}

std::string ClearNodes(const std::string& label, const Names& key, const Names& properties) {
  const std::string removals = RemoveProperties(key, properties);
  return fmt::format("{}OPTIONAL MATCH (n:{} {})\n", kRows, Quote(label), Pattern(key, "k")) +
         When("n IS NOT NULL AND " + Replaceable("n"), "SET n._apex_seq = row.s" + removals) +
         "RETURN count(*) AS rows";
}

std::string EraseNodes(const std::string& label, const Names& key) {
  return fmt::format(
      "{}OPTIONAL MATCH (n:{} {}) WHERE n._apex_seq = row.s\n"
      "REMOVE n._apex_seq\n"
      "WITH count(*) AS rows, collect(n) AS gone\n"
      "FOREACH (n IN [x IN gone WHERE NOT (x)--()] | DELETE n)\n"
      "RETURN rows",
      kRows, Quote(label), Pattern(key, "k"));
}

std::string PruneRelations(const std::string& label, const Names& key, const RelationGroup& group) {
  return fmt::format(
      "{}OPTIONAL MATCH (n:{} {}) WHERE n._apex_seq = row.s\n"
      "OPTIONAL MATCH (n)-[r:{}]->(m:{}) WHERE r._apex_seq IS NOT NULL\n"
      "DELETE r\n"
      "WITH count(DISTINCT row.k) AS rows, collect(m) AS old\n"
      "FOREACH (m IN {} | DELETE m)\n"
      "RETURN rows",
      kRows, Quote(label), Pattern(key, "k"), Quote(group.type), Quote(group.label),
      UnusedStubs("old", group.key.size()));
}

std::string RelateNodes(const std::string& label, const Names& key, const RelationGroup& group) {
  const std::string stale = fmt::format(
      "[(n)-[r:{}]->(m:{}) WHERE n._apex_seq = row.s AND r._apex_seq IS NOT NULL AND NOT {} IN "
      "row.t | [r, m]]",
      Quote(group.type), Quote(group.label), KeyOf("m", group.key));
  const std::string link =
      fmt::format("MERGE (m:{} {}) MERGE (n)-[r:{}]->(m) SET r._apex_seq = row.s",
                  Quote(group.label), PatternOf(group.key, "target"), Quote(group.type));
  return fmt::format(
      "{}MATCH (n:{} {})\n"
      "WITH row, n, {} AS stale\n"
      "FOREACH (x IN stale | FOREACH (r IN [x[0]] | DELETE r))\n"
      "FOREACH (target IN CASE WHEN n._apex_seq = row.s THEN row.t ELSE [] END | {})\n"
      "WITH stale\n"
      "UNWIND range(0, CASE size(stale) WHEN 0 THEN 0 ELSE size(stale) - 1 END) AS i\n"
      "WITH sum(CASE i WHEN 0 THEN 1 ELSE 0 END) AS rows, collect(stale[i][1]) AS old\n"
      "FOREACH (m IN {} | DELETE m)\n"
      "RETURN rows",
      kRows, Quote(label), Pattern(key, "k"), stale, link, UnusedStubs("old", group.key.size()));
}

std::string UnlinkEdges(const EdgeMapping& edge, const Names& key) {
  return fmt::format(
      "{}OPTIONAL MATCH (f:{})-[r:{} {}]->(t:{}) WHERE {} AND NOT ({} = row.f AND {} = row.t)\n"
      "DELETE r\n"
      "WITH count(DISTINCT row.k) AS rows, collect(f) AS sources, collect(t) AS targets\n"
      "FOREACH (x IN {} + {} | DELETE x)\n"
      "RETURN rows",
      kRows, Quote(edge.from.label), Quote(edge.type), Pattern(key, "k"), Quote(edge.to.label),
      Replaceable("r"), KeyOf("f", edge.from.key), KeyOf("t", edge.to.key),
      UnusedStubs("sources", edge.from.key.size()), UnusedStubs("targets", edge.to.key.size()));
}

std::string PutEdges(const EdgeMapping& edge, const Names& key) {
  const std::string relationship = fmt::format("[r:{} {}]", Quote(edge.type), Pattern(key, "k"));
  const std::string create = fmt::format(
      "MERGE (f:{} {}) MERGE (t:{} {}) CREATE (f)-{}->(t) SET r += row.p, r._apex_seq = row.s",
      Quote(edge.from.label), Pattern(edge.from.key, "f"), Quote(edge.to.label),
      Pattern(edge.to.key, "t"), relationship);
  // What is found here either has its ends already or is newer: UnlinkEdges ran before.
  return fmt::format("{}OPTIONAL MATCH ()-[o:{} {}]->()\n", kRows, Quote(edge.type),
                     Pattern(key, "k")) +
         When("o IS NULL", create) +
         When("o IS NOT NULL AND " + Replaceable("o"), "SET o += row.p, o._apex_seq = row.s") +
         "RETURN count(DISTINCT row.k) AS rows";
}

// A node keeps its version until its relationships are gone, so that it is nobody's unused stub.
std::string TruncateNodes(const std::string& label, const Names& key, const Names& properties,
                          const std::vector<RelationGroup>& groups) {
  std::string cypher =
      fmt::format("MATCH (n:{}) WHERE n._apex_seq < $seq\nWITH n LIMIT $limit{}\nWITH ",
                  Quote(label), RemoveProperties(key, properties));
  for (const RelationGroup& group : groups) {
    cypher += fmt::format(
        "n\n"
        "OPTIONAL MATCH (n)-[r:{}]->(m:{}) WHERE r._apex_seq IS NOT NULL\n"
        "DELETE r\n"
        "WITH collect(DISTINCT n) AS gone, collect(m) AS old\n"
        "FOREACH (m IN {} | DELETE m)\n"
        "WITH gone UNWIND gone AS n\n"
        "WITH ",
        Quote(group.type), Quote(group.label), UnusedStubs("old", group.key.size()));
  }
  return cypher +
         "collect(n) AS gone\n"
         "FOREACH (n IN gone | REMOVE n._apex_seq)\n"
         "FOREACH (n IN [x IN gone WHERE NOT (x)--()] | DELETE n)\n"
         "RETURN size(gone) AS rows";
}

std::string TruncateEdges(const EdgeMapping& edge) {
  return fmt::format(
      "MATCH (f:{})-[r:{}]->(t:{}) WHERE r._apex_seq < $seq\n"
      "WITH f, r, t LIMIT $limit\n"
      "DELETE r\n"
      "WITH count(*) AS rows, collect(DISTINCT f) AS sources, collect(DISTINCT t) AS targets\n"
      "FOREACH (x IN {} + {} | DELETE x)\n"
      "RETURN rows",
      Quote(edge.from.label), Quote(edge.type), Quote(edge.to.label),
      UnusedStubs("sources", edge.from.key.size()), UnusedStubs("targets", edge.to.key.size()));
}

// SET takes the node's lock, and what is read after WITH is read behind it. Dividing by zero is how
// plain Cypher raises an error; everything after it in the transaction is then ignored.
std::string_view CheckFence() {
  return "CYPHER replan=skip\n"
         "MERGE (p:_ApexPipeline {name: $name})\n"
         "SET p.position = CASE WHEN coalesce(p.position, -1) < $position THEN $position ELSE "
         "p.position END\n"
         "WITH p\n"
         "RETURN 1 / CASE WHEN p.epoch = $epoch AND $claim IN [0, p.claim] THEN 1 ELSE 0 END "
         "AS rows";
}

std::string_view ClaimFence() {
  return "MERGE (p:_ApexPipeline {name: $name})\n"
         "SET p.position = coalesce(p.position, 0)\n"
         "WITH p\n"
         "SET p.epoch = $epoch / CASE WHEN coalesce(p.epoch, $epoch) <= $epoch THEN 1 ELSE 0 END, "
         "p.claim = $claim\n"
         "RETURN count(*) AS rows";
}

std::vector<std::string> SchemaOf(const TableMapping& mapping) {
  std::vector<std::string> schema;
  const Names key = KeyNames(mapping);
  if (mapping.node) {
    schema.push_back(UniqueConstraint(mapping.node->label, key));
    for (const RelationMapping& relation : mapping.node->relations) {
      schema.push_back(UniqueConstraint(relation.to.label, relation.to.key));
    }
  }
  if (mapping.edge) {
    schema.push_back(UniqueConstraint(mapping.edge->from.label, mapping.edge->from.key));
    schema.push_back(UniqueConstraint(mapping.edge->to.label, mapping.edge->to.key));
    schema.push_back(fmt::format("CREATE INDEX IF NOT EXISTS FOR ()-[r:{}]-() ON {}",
                                 Quote(mapping.edge->type), SchemaKey("r", key)));
  }
  return schema;
}

std::string_view PipelineConstraint() {
  return "CREATE CONSTRAINT IF NOT EXISTS FOR (p:_ApexPipeline) REQUIRE p.name IS UNIQUE";
}

}  // namespace apex::neo4j
