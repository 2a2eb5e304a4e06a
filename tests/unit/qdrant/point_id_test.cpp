#include "stores/qdrant/point_id.h"

#include <gtest/gtest.h>

namespace apex::qdrant {
namespace {

TableMapping Mapping(const std::vector<ColumnKind>& kinds) {
  TableMapping mapping;
  mapping.table = "public.documents";
  for (const ColumnKind kind : kinds)
    mapping.key.push_back({"k" + std::to_string(mapping.key.size()), kind});
  return mapping;
}

TEST(PointIdTest, UuidV5MatchesThePublishedVectorOfTheUrlNamespace) {
  EXPECT_EQ(UuidV5("http://www.example.com/"), "fcde3c85-2270-590f-9e7c-ee003d65e0e2");
}

TEST(PointIdTest, UuidKeyIsTakenAsItIs) {
  const auto id =
      PointIdOf(Mapping({ColumnKind::kUuid}), {1, R"(["0190a5e0-0000-7000-8000-000000000001"])"});
  EXPECT_EQ(id.uuid(), "0190a5e0-0000-7000-8000-000000000001");
}

TEST(PointIdTest, NonNegativeIntegerKeyIsTakenAsItIs) {
  EXPECT_EQ(PointIdOf(Mapping({ColumnKind::kInt}), {1, "[0]"}).num(), 0u);
  EXPECT_TRUE(PointIdOf(Mapping({ColumnKind::kInt}), {1, "[0]"}).has_num());
  EXPECT_EQ(PointIdOf(Mapping({ColumnKind::kInt}), {1, "[9223372036854775807]"}).num(),
            9223372036854775807u);
}

TEST(PointIdTest, EveryOtherKeyIsDerivedFromTableAndCompactKey) {
  EXPECT_EQ(PointIdOf(Mapping({ColumnKind::kInt}), {1, "[-1]"}).uuid(),
            UuidV5("public.documents\t[-1]"));
  EXPECT_EQ(PointIdOf(Mapping({ColumnKind::kText}), {1, R"(["a"])"}).uuid(),
            UuidV5("public.documents\t[\"a\"]"));
  EXPECT_EQ(PointIdOf(Mapping({ColumnKind::kNumeric}), {1, R"(["1"])"}).uuid(),
            UuidV5("public.documents\t[\"1\"]"));
  const TableMapping composite = Mapping({ColumnKind::kText, ColumnKind::kInt});
  EXPECT_EQ(PointIdOf(composite, {1, R"(["a",1])"}).uuid(), UuidV5("public.documents\t[\"a\",1]"));
}

TEST(PointIdTest, SpacesInTheKeysTextMakeNoOtherId) {
  const TableMapping composite = Mapping({ColumnKind::kText, ColumnKind::kInt});
  EXPECT_EQ(PointIdOf(composite, {1, R"(["ä b", 1])"}).uuid(),
            PointIdOf(composite, {1, R"(["ä b",1])"}).uuid());
}

}  // namespace
}  // namespace apex::qdrant
