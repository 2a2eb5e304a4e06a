// Points in words: what is expected of a row reads as what the store gives back.
#include "stores/qdrant/qdrant_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stores/qdrant/point_id.h"

namespace apex::qdrant {
namespace {

using testing::ElementsAre;

std::shared_ptr<TableMapping> Mapping(ColumnKind key) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->relation = 1;
  mapping->table = "public.t";
  mapping->key = {{"id", key}};
  mapping->columns = {{"id", key}, {"v", ColumnKind::kJsonb}};
  mapping->vector.emplace();
  mapping->vector->collection = "t";
  mapping->vector->embedding = "embedding";
  mapping->vector->dimensions = 2;
  mapping->vector->payload = {"v"};
  return mapping;
}

ChangePtr Row(MappingPtr mapping, const std::string& key, const std::string& image,
              bool has_embedding = true) {
  auto change = std::make_shared<Change>();
  change->op = Operation::kRefresh;
  change->mapping = std::move(mapping);
  change->row = {1, key};
  change->after = image;
  const std::vector<float> floats{3, 4};
  if (has_embedding) {
    change->embedding.emplace(reinterpret_cast<const char*>(floats.data()),
                              floats.size() * sizeof(float));
  }
  return change;
}

::qdrant::Value Text(const std::string& text) {
  ::qdrant::Value value;
  value.set_string_value(text);
  return value;
}

TEST(QdrantReaderTest, ExpectsWhatIsWrittenForARow) {
  QdrantReader reader({"http://localhost", ""});
  auto expected = reader.Expected(
      Row(Mapping(ColumnKind::kInt), "[7]", R"({"id": 7, "v": {"b": [1, 2.0, null], "a": true}})"));
  ASSERT_TRUE(expected.ok() && *expected);
  EXPECT_EQ((**expected).name, "7");
  EXPECT_EQ((**expected).key, "[7]");
  EXPECT_THAT((**expected).fields, ElementsAre(StoredField{"id", "7"},
                                               StoredField{"v", R"({"a":true,"b":[1,2,null]})"}));
  EXPECT_THAT((**expected).vector, ElementsAre(3, 4));
  EXPECT_TRUE((**expected).is_direction);
}

TEST(QdrantReaderTest, ExpectsTheVectorUnderItsName) {
  QdrantReader reader({"http://localhost", ""});
  auto mapping = Mapping(ColumnKind::kInt);
  mapping->vector->name = "title";
  auto expected = reader.Expected(Row(mapping, "[7]", R"({"id": 7, "v": 1})"));
  ASSERT_TRUE(expected.ok() && *expected);
  EXPECT_THAT((**expected).vector, ElementsAre(3, 4));
}

TEST(QdrantReaderTest, ExpectsNoPointOfARowWithoutEmbedding) {
  QdrantReader reader({"http://localhost", ""});
  auto expected =
      reader.Expected(Row(Mapping(ColumnKind::kInt), "[7]", R"({"id": 7, "v": 1})", false));
  ASSERT_TRUE(expected.ok());
  EXPECT_FALSE(*expected);
}

TEST(DescribePointTest, TellsTheKeyFromTheIdOrFromAPayloadThatAgreesWithIt) {
  google::protobuf::Map<std::string, ::qdrant::Value> payload;
  const google::protobuf::RepeatedField<float> vector;
  ::qdrant::PointId number;
  number.set_num(7);
  EXPECT_EQ(DescribePoint(*Mapping(ColumnKind::kInt), number, payload, vector).key, "[7]");

  const auto mapping = Mapping(ColumnKind::kText);
  const ::qdrant::PointId derived = PointIdOf(*mapping, {1, R"(["a"])"});
  EXPECT_EQ(DescribePoint(*mapping, derived, payload, vector).key, std::nullopt);
  payload["id"] = Text("a");
  EXPECT_EQ(DescribePoint(*mapping, derived, payload, vector).key, R"(["a"])");
  payload["id"] = Text("b");
  EXPECT_EQ(DescribePoint(*mapping, derived, payload, vector).key, std::nullopt);
}

TEST(DescribePointTest, NamesWhatIsAbsentAndPassesOverWhatIsNotMapped) {
  google::protobuf::Map<std::string, ::qdrant::Value> payload;
  payload["of_another_application"] = Text("x");
  payload["v"] = Text("held");
  ::qdrant::PointId id;
  id.set_num(7);
  const StoredRow row = DescribePoint(*Mapping(ColumnKind::kInt), id, payload, {});
  EXPECT_FALSE(row.version);
  EXPECT_THAT(row.fields, ElementsAre(StoredField{"id", "absent"}, StoredField{"v", "\"held\""}));
}

}  // namespace
}  // namespace apex::qdrant
