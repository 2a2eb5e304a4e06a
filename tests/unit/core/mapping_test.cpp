#include "core/mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace apex {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The example of docs/internals/extension-and-sidecar.md, with the columns it leaves out.
constexpr const char* kDocuments = R"({
  "table": "public.documents",
  "key": [{"column": "id", "kind": "uuid"}],
  "columns": [{"column": "id", "kind": "uuid", "not_null": true}, {"column": "title", "kind": "text"},
              {"column": "source", "kind": "text"}, {"column": "tags", "kind": "text[]"},
              {"column": "author_id", "kind": "int"}, {"column": "user_id", "kind": "int"}],
  "aggregate": {"column": "document_id", "relation": 16402, "table": "public.documents", "kind": "uuid"},
  "graph": {"kind": "node", "label": "Document", "properties": ["title", "source"],
            "relations": [{"type": "AUTHORED_BY", "via": ["author_id"], "label": "Author", "key": ["id"]}]},
  "vector": {"collection": "documents", "embedding": "embedding", "dimensions": 384, "distance": "cosine",
             "payload": ["title", "user_id"]},
  "cache": {"entity": "document", "mode": "write", "entry": "doc:{id}", "ttl_seconds": 3600,
            "columns": ["id", "title"], "invalidate": ["doc:{id}:chunks", "query:*{id}*"], "events": ["document"],
            "ttl_column": "title", "tags": ["doc:{id}"]}
})";

Result<TableMapping> Parse(const json& spec) {
  return ParseMapping(7, 16402, "default", true, "park", spec.dump());
}

TEST(MappingTest, ReadsEveryMemberOfTheContractsExample) {
  const Result<TableMapping> parsed = ParseMapping(7, 16402, "default", false, "park", kDocuments);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const TableMapping& mapping = *parsed;
  EXPECT_EQ(mapping.id, 7);
  EXPECT_EQ(mapping.relation, 16402u);
  EXPECT_EQ(mapping.pipeline, "default");
  EXPECT_FALSE(mapping.active);
  EXPECT_EQ(mapping.table, "public.documents");
  ASSERT_EQ(mapping.key.size(), 1u);
  EXPECT_EQ(mapping.key[0].kind, ColumnKind::kUuid);
  ASSERT_EQ(mapping.columns.size(), 6u);
  EXPECT_TRUE(mapping.columns[3].is_array);
  EXPECT_EQ(mapping.columns[3].kind, ColumnKind::kText);

  ASSERT_TRUE(mapping.node);
  EXPECT_FALSE(mapping.edge);
  EXPECT_EQ(mapping.node->label, "Document");
  EXPECT_THAT(mapping.node->properties, ElementsAre("title", "source"));
  ASSERT_EQ(mapping.node->relations.size(), 1u);
  EXPECT_EQ(mapping.node->relations[0].type, "AUTHORED_BY");
  EXPECT_THAT(mapping.node->relations[0].to.columns, ElementsAre("author_id"));
  EXPECT_EQ(mapping.node->relations[0].to.label, "Author");
  EXPECT_THAT(mapping.node->relations[0].to.key, ElementsAre("id"));

  ASSERT_TRUE(mapping.vector);
  EXPECT_EQ(mapping.vector->dimensions, 384u);
  EXPECT_EQ(mapping.vector->distance, Distance::kCosine);
  EXPECT_EQ(mapping.vector->name, "");
  ASSERT_TRUE(mapping.cache);
  EXPECT_EQ(mapping.cache->mode, CacheMode::kWrite);
  EXPECT_EQ(mapping.cache->ttl_seconds, 3600);
  EXPECT_THAT(mapping.cache->invalidate, ElementsAre("doc:{id}:chunks", "query:*{id}*"));
  EXPECT_EQ(mapping.cache->ttl_column, "title");
  EXPECT_THAT(mapping.cache->tags, ElementsAre("doc:{id}"));
}

TEST(MappingTest, ReadsAJoinTableAsAnEdge) {
  const Result<TableMapping> parsed = Parse(json::parse(R"({
    "table": "public.depends", "key": [{"column": "package_id", "kind": "int"}, {"column": "needs_id", "kind": "int"}],
    "columns": [{"column": "package_id", "kind": "int"}, {"column": "needs_id", "kind": "int"}],
    "aggregate": null, "vector": null, "cache": null,
    "graph": {"kind": "edge", "type": "DEPENDS_ON", "properties": [],
              "from": {"columns": ["package_id"], "label": "Package", "key": ["id"]},
              "to": {"columns": ["needs_id"], "label": "Package", "key": ["id"]}}})"));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_TRUE((*parsed).edge);
  EXPECT_FALSE((*parsed).node);
  EXPECT_EQ((*parsed).edge->type, "DEPENDS_ON");
  EXPECT_THAT((*parsed).edge->to.columns, ElementsAre("needs_id"));
}

TEST(MappingTest, TakesANullTtlAsNoExpiry) {
  json spec = json::parse(kDocuments);
  spec["cache"]["ttl_seconds"] = nullptr;
  spec["cache"].erase("ttl_column");  // As 1.0 wrote it.
  spec["cache"].erase("tags");
  const Result<TableMapping> parsed = Parse(spec);
  ASSERT_TRUE(parsed.ok());
  EXPECT_FALSE((*parsed).cache->ttl_seconds);
}

TEST(MappingTest, ReadsEveryKindOfColumn) {
  const std::vector<std::pair<std::string, ColumnKind>> kinds = {
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
      {"other", ColumnKind::kOther}};
  json spec = json::parse(kDocuments);
  for (const auto& [name, kind] : kinds) {
    spec["columns"].push_back({{"column", name}, {"kind", name}});
    spec["columns"].push_back({{"column", name + "s"}, {"kind", name + "[]"}});
  }
  const Result<TableMapping> parsed = Parse(spec);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  for (const auto& [name, kind] : kinds) {
    EXPECT_EQ((*parsed).FindColumn(name)->kind, kind) << name;
    EXPECT_FALSE((*parsed).FindColumn(name)->is_array) << name;
    EXPECT_EQ((*parsed).FindColumn(name + "s")->kind, kind) << name;
    EXPECT_TRUE((*parsed).FindColumn(name + "s")->is_array) << name;
  }
}

TEST(MappingTest, FindsColumnsByNameOnly) {
  const Result<TableMapping> parsed = Parse(json::parse(kDocuments));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ((*parsed).FindColumn("title")->name, "title");
  EXPECT_EQ((*parsed).FindColumn("Title"), nullptr);
  EXPECT_EQ((*parsed).FindColumn(""), nullptr);
}

struct Refusal {
  const char* name;
  const char* pointer;  ///< The member to replace.
  json value;
  const char* says;
};

class MappingRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(MappingRefusalTest, NamesTheMappingAndTheMember) {
  json spec = json::parse(kDocuments);
  spec[json::json_pointer(GetParam().pointer)] = GetParam().value;
  const Result<TableMapping> parsed = Parse(spec);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().store, Store::kPostgres);
  EXPECT_EQ(parsed.error().kind, ErrorKind::kPermanent);
  EXPECT_THAT(parsed.error().message, HasSubstr("mapping 7: "));
  EXPECT_THAT(parsed.error().message, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Members, MappingRefusalTest,
    ::testing::Values(
        Refusal{"NoTable", "/table", nullptr, "table has to be a string"},
        Refusal{"EmptyKey", "/key", json::array(), "key has to be at least one column"},
        Refusal{"UnknownKeyColumn", "/key/0/column", "uid",
                "key has to be columns of the table, not uid"},
        Refusal{"ColumnsNoArray", "/columns", "id", "columns has to be an array"},
        Refusal{"UnknownKind", "/columns/1/kind", "blob",
                "kind of column title has to be one of bool, int"},
        Refusal{"UnknownGraphKind", "/graph/kind", "tree",
                "graph.kind has to be one of node, edge"},
        Refusal{"EmptyLabel", "/graph/label", "",
                "graph.label has to be a string that is not empty"},
        Refusal{"UnknownProperty", "/graph/properties/0", "titel", "not titel"},
        Refusal{"RelationWithoutColumns", "/graph/relations/0/via", json::array(),
                "graph.relations[0].via has to be as many"},
        Refusal{"EmptyVectorName", "/vector/name", "",
                "vector.name has to be a string that is not empty"},
        Refusal{"ZeroDimensions", "/vector/dimensions", 0,
                "vector.dimensions has to be an integer from 1"},
        Refusal{"FractionalDimensions", "/vector/dimensions", 1.5,
                "vector.dimensions has to be an integer"},
        Refusal{"UnknownDistance", "/vector/distance", "hamming",
                "vector.distance has to be one of cosine, dot"},
        Refusal{"UnknownMode", "/cache/mode", "read",
                "cache.mode has to be one of invalidate, write"},
        Refusal{"NegativeTtl", "/cache/ttl_seconds", -1, "cache.ttl_seconds has to be an integer"},
        Refusal{"TtlBeyondInt64", "/cache/ttl_seconds", 18446744073709551615ULL,
                "cache.ttl_seconds"},
        Refusal{"CacheNoObject", "/cache", 5, "cache has to be an object"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(MappingTest, RefusesWhatIsNotJson) {
  const Result<TableMapping> parsed = ParseMapping(7, 1, "default", true, "park", "{\"table\":");
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(parsed.error().message, HasSubstr("spec is not JSON"));
}

TEST(MappingTest, RefusesASpecThatIsNoObject) {
  const Result<TableMapping> parsed = ParseMapping(7, 1, "default", true, "park", "[]");
  ASSERT_FALSE(parsed.ok());
  EXPECT_THAT(parsed.error().message, HasSubstr("spec has to be an object"));
}

}  // namespace
}  // namespace apex
