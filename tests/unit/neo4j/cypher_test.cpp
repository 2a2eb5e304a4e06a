#include "stores/neo4j/cypher.h"

#include <gmock/gmock.h>

namespace apex::neo4j {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

NodeMapping Node(std::vector<RelationMapping> relations) {
  return NodeMapping{"Document", {"title"}, std::move(relations)};
}

RelationMapping Relation(std::string type, std::string column, std::string label) {
  return RelationMapping{std::move(type), Endpoint{{std::move(column)}, std::move(label), {"id"}}};
}

TEST(CypherTest, QuotesNamesAndDoublesBackQuotes) {
  EXPECT_EQ(Quote("id"), "`id`");
  EXPECT_EQ(Quote("a`) DETACH DELETE n //"), "`a``) DETACH DELETE n //`");
  EXPECT_EQ(Quote("``"), "``````");
}

TEST(CypherTest, FindsANodeByAllItsKeyColumns) {
  EXPECT_THAT(UpsertNodes("L`1", {"a", "b`c"}),
              HasSubstr("MERGE (n:`L``1` {`a`: row.k[0], `b``c`: row.k[1]})"));
}

TEST(CypherTest, ReplacesOnlyVersionsOfTheRangeOrStubs) {
  const std::string guard =
      "(n._apex_seq IS NULL OR (row.a < n._apex_seq AND n._apex_seq <= row.b))";
  EXPECT_THAT(UpsertNodes("L", {"id"}), HasSubstr(guard));
  EXPECT_THAT(ClearNodes("L", {"id"}, {}), HasSubstr(guard));
}

TEST(CypherTest, TakesMappedPropertiesOffADeletedNodeButNotItsKey) {
  const std::string cypher = ClearNodes("L", {"id"}, {"id", "title", "sou`rce"});
  EXPECT_THAT(cypher, HasSubstr("REMOVE n.`title` REMOVE n.`sou``rce`"));
  EXPECT_THAT(cypher, Not(HasSubstr("REMOVE n.`id`")));
}

TEST(CypherTest, MakesForeignKeysOfOneTypeAndLabelTrueTogether) {
  const std::vector<RelationGroup> groups = GroupRelations(Node({
      Relation("BY", "author_id", "Author"),
      Relation("BY", "editor_id", "Author"),
      Relation("BY", "team_id", "Team"),
      Relation("IN", "author_id", "Author"),
  }));
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_THAT(groups[0].foreign_keys,
              ElementsAre(ElementsAre("author_id"), ElementsAre("editor_id")));
  EXPECT_EQ(groups[1].label, "Team");
  EXPECT_EQ(groups[2].type, "IN");
}

TEST(CypherTest, LeavesRelationshipsOfOthersAndStubsThatCarryMoreThanTheirKey) {
  const RelationGroup group{"BY", "Author", {"a", "b"}, {{"x", "y"}}};
  const std::string relate = RelateNodes("Document", {"id"}, group);
  EXPECT_THAT(relate, HasSubstr("r._apex_seq IS NOT NULL AND NOT [m.`a`, m.`b`] IN row.t"));
  EXPECT_THAT(relate, HasSubstr("MERGE (m:`Author` {`a`: target[0], `b`: target[1]})"));
  const std::string prune = PruneRelations("Document", {"id"}, group);
  EXPECT_THAT(prune, HasSubstr("r._apex_seq IS NOT NULL"));
  for (const std::string& cypher : {relate, prune})
    EXPECT_THAT(cypher, HasSubstr("x._apex_seq IS NULL AND size(keys(x)) = 2 AND NOT (x)--()"));
}

TEST(CypherTest, FindsAJoinRowByItsOwnKey) {
  const EdgeMapping edge{
      "NEEDS", {}, {{"from_id"}, "Package", {"id"}}, {{"to_id"}, "Package", {"id"}}};
  const std::string pattern = ":`NEEDS` {`from_id`: row.k[0], `slot`: row.k[1]}]";
  EXPECT_THAT(UnlinkEdges(edge, {"from_id", "slot"}), HasSubstr("[r" + pattern));
  EXPECT_THAT(PutEdges(edge, {"from_id", "slot"}),
              HasSubstr("OPTIONAL MATCH ()-[o" + pattern + "->()"));
  EXPECT_THAT(PutEdges(edge, {"from_id", "slot"}), HasSubstr("CREATE (f)-[r" + pattern + "->(t)"));
}

TEST(CypherTest, AsksForAConstraintOnEveryLabelItFindsNodesBy) {
  TableMapping node;
  node.key = {{"id", ColumnKind::kUuid, false}};
  node.node = Node({Relation("BY", "author_id", "Author")});
  EXPECT_THAT(
      SchemaOf(node),
      ElementsAre("CREATE CONSTRAINT IF NOT EXISTS FOR (n:`Document`) REQUIRE (n.`id`) IS UNIQUE",
                  "CREATE CONSTRAINT IF NOT EXISTS FOR (n:`Author`) REQUIRE (n.`id`) IS UNIQUE"));
  TableMapping join;
  join.key = {{"f", ColumnKind::kInt, false}, {"t", ColumnKind::kInt, false}};
  join.edge = EdgeMapping{"NEEDS", {}, {{"f"}, "A", {"id"}}, {{"t"}, "B", {"x", "y"}}};
  EXPECT_THAT(
      SchemaOf(join),
      ElementsAre("CREATE CONSTRAINT IF NOT EXISTS FOR (n:`A`) REQUIRE (n.`id`) IS UNIQUE",
                  "CREATE CONSTRAINT IF NOT EXISTS FOR (n:`B`) REQUIRE (n.`x`, n.`y`) IS UNIQUE",
                  "CREATE INDEX IF NOT EXISTS FOR ()-[r:`NEEDS`]-() ON (r.`f`, r.`t`)"));
  EXPECT_TRUE(SchemaOf(TableMapping{}).empty());
}

}  // namespace
}  // namespace apex::neo4j
