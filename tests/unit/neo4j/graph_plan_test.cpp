#include "stores/neo4j/graph_plan.h"

#include <gmock/gmock.h>

#include "stores/neo4j/errors.h"
#include "stores/neo4j/packstream.h"

namespace apex::neo4j {
namespace {

using packstream::List;
using packstream::Value;

MappingPtr Documents() {
  auto mapping = std::make_shared<TableMapping>();
  mapping->id = 1;
  mapping->table = "public.documents";
  mapping->key = {{"id", ColumnKind::kInt, false}};
  mapping->columns = {{"id", ColumnKind::kInt, false},
                      {"title", ColumnKind::kText, false},
                      {"author_id", ColumnKind::kInt, false},
                      {"editor_id", ColumnKind::kInt, false},
                      {"due", ColumnKind::kDate, false}};
  const auto author = [](std::string column) {
    return RelationMapping{"BY", Endpoint{{std::move(column)}, "Author", {"id"}}};
  };
  mapping->node =
      NodeMapping{"Document", {"id", "title"}, {author("author_id"), author("editor_id")}};
  return mapping;
}

MappingPtr Needs() {
  auto mapping = std::make_shared<TableMapping>();
  mapping->id = 2;
  mapping->table = "public.needs";
  mapping->key = {{"f", ColumnKind::kInt, false}, {"t", ColumnKind::kInt, false}};
  mapping->columns = mapping->key;
  mapping->edge =
      EdgeMapping{"NEEDS", {}, {{"f"}, "Document", {"id"}}, {{"t"}, "Document", {"id"}}};
  return mapping;
}

class GraphPlanTest : public ::testing::Test {
 protected:
  Status Add(const GraphPlan& plan, std::string key, std::optional<std::string> image,
             int64_t seq = 10) {
    rows_.push_back(std::make_unique<RowId>(RowId{1, std::move(key)}));
    RowTask task{&plan, rows_.back().get(), std::nullopt, -1, seq - 1, seq};
    if (image) task.image = *image;
    return builder_.Add(task);
  }

  std::vector<Statement> Finish() {
    std::vector<Statement> statements;
    builder_.Finish(statements);
    return statements;
  }

  /// The statement's rows, decoded.
  static List RowsOf(const Statement& statement) {
    std::string_view bytes = statement.parameters;
    std::optional<Value> parameters = packstream::Decode(bytes);
    EXPECT_TRUE(parameters.has_value() && bytes.empty());
    const Value* rows = parameters->Find("batch")->Find("rows");
    EXPECT_EQ(rows->As<List>()->size(), static_cast<size_t>(statement.rows));
    return *rows->As<List>();
  }

  ImageEncoder encoder_;
  TransactionBuilder builder_{encoder_};
  std::vector<std::unique_ptr<RowId>> rows_;
};

TEST_F(GraphPlanTest, HasNoPlanForATableWithoutGraph) {
  EXPECT_EQ(MakePlan(std::make_shared<TableMapping>()), nullptr);
}

TEST_F(GraphPlanTest, WantsOnlyTheColumnsTheGraphNeeds) {
  auto plan = MakePlan(Documents());
  EXPECT_EQ(plan->wanted.size(), 3u);
  EXPECT_EQ(plan->properties.size(),
            1u);  // The key is written by the statement that finds the node.
  EXPECT_TRUE(
      Add(*plan, "[1]",
          R"({"id": 1, "title": "T", "author_id": 7, "editor_id": null, "due": "infinity"})")
          .ok());
}

TEST_F(GraphPlanTest, WritesNodesThenRelationshipsThenJoinRowsAndErasesLast) {
  auto documents = MakePlan(Documents());
  auto needs = MakePlan(Needs());
  ASSERT_TRUE(
      Add(*documents, "[1]", R"({"id": 1, "title": "T", "author_id": 7, "editor_id": 8})").ok());
  ASSERT_TRUE(Add(*documents, "[2]", std::nullopt).ok());
  ASSERT_TRUE(Add(*needs, "[1,3]", R"({"f": 1, "t": 3})").ok());
  const std::vector<Statement> statements = Finish();
  std::vector<std::string_view> order;
  order.reserve(statements.size());
  for (const Statement& statement : statements) order.push_back(statement.cypher);
  EXPECT_THAT(order, ::testing::ElementsAre(
                         documents->node->upsert, documents->node->clear,
                         documents->node->relations[0].prune, documents->node->relations[0].relate,
                         needs->edge->unlink, needs->edge->put, documents->node->erase));
  EXPECT_EQ(statements[2].rows, 1);  // A deleted row is pruned of every relationship.
  EXPECT_EQ(statements[3].rows, 1);
  EXPECT_EQ(RowsOf(statements[3])[0].Find("t")->As<List>()->size(), 2u);  // One a foreign key.
}

TEST_F(GraphPlanTest, SendsNullsOfPropertiesSoThatTheyVanish) {
  auto plan = MakePlan(Documents());
  ASSERT_TRUE(
      Add(*plan, "[1]", R"({"id": 1, "title": null, "author_id": null, "editor_id": null})", 12)
          .ok());
  const std::vector<Statement> statements = Finish();
  ASSERT_EQ(statements.size(), 2u);
  EXPECT_TRUE(RowsOf(statements[1])[0].Find("t")->As<List>()->empty());
  const List rows = RowsOf(statements[0]);
  EXPECT_EQ(*rows[0].Find("a")->As<int64_t>(), -1);
  EXPECT_EQ(*rows[0].Find("b")->As<int64_t>(), 11);
  EXPECT_EQ(*rows[0].Find("s")->As<int64_t>(), 12);
  const Value* title = rows[0].Find("p")->Find("title");
  ASSERT_NE(title, nullptr);
  EXPECT_NE(title->As<std::monostate>(), nullptr);
}

TEST_F(GraphPlanTest, PointsOnceAtANodeThatTwoForeignKeysName) {
  auto plan = MakePlan(Documents());
  ASSERT_TRUE(Add(*plan, "[1]", R"({"id": 1, "title": "T", "author_id": 7, "editor_id": 7})").ok());
  EXPECT_EQ(RowsOf(Finish()[1])[0].Find("t")->As<List>()->size(), 1u);
}

TEST_F(GraphPlanTest, TakesAwayTheRelationshipOfAJoinRowThatPointsNowhere) {
  auto plan = MakePlan(Needs());
  ASSERT_TRUE(Add(*plan, "[1,3]", R"({"f": 1, "t": null})").ok());
  const std::vector<Statement> statements = Finish();
  ASSERT_EQ(statements.size(), 1u);
  EXPECT_EQ(statements[0].cypher, plan->edge->unlink);
}

TEST_F(GraphPlanTest, ClosesAStatementAtItsBounds) {
  auto plan = MakePlan(Needs());
  for (size_t i = 0; i <= kStatementRowsMax; ++i) {
    ASSERT_TRUE(Add(*plan, "[1," + std::to_string(i) + "]", std::nullopt).ok());
  }
  const std::vector<Statement> statements = Finish();
  ASSERT_EQ(statements.size(), 2u);
  EXPECT_EQ(RowsOf(statements[0]).size(), kStatementRowsMax);
  EXPECT_EQ(RowsOf(statements[1]).size(), 1u);
}

TEST_F(GraphPlanTest, RefusesMoreThanOneTransactionMayCarry) {
  auto plan = MakePlan(Documents());
  const std::string title(kTransactionBytesMax / 4, 'x');
  Status status;
  for (int i = 0; i < 4 && status.ok(); ++i) {
    status = Add(*plan, "[" + std::to_string(i) + "]", R"({"id": 1, "title": ")" + title + "\"}");
  }
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(status.error().native_code, kTooLarge);
}

TEST_F(GraphPlanTest, KeepsDocumentsInAKeyAsText) {
  auto mapping = std::make_shared<TableMapping>(*Needs());
  mapping->key = {{"j", ColumnKind::kJsonb, false}, {"a", ColumnKind::kInt, true}};
  auto plan = MakePlan(mapping);
  ASSERT_TRUE(Add(*plan, R"(["{\"x\": 1}","{1,2}"])", std::nullopt).ok());
  const List rows = RowsOf(Finish()[0]);
  EXPECT_EQ(*rows[0].Find("k")->As<List>()->front().As<std::string>(), R"({"x": 1})");
  EXPECT_EQ(*rows[0].Find("k")->As<List>()->back().As<std::string>(), "{1,2}");
}

}  // namespace
}  // namespace apex::neo4j
