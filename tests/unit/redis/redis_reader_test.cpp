// Entries in words: what is expected of a row reads as what Redis gives back.
#include "stores/redis/redis_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace apex::redis {
namespace {

using testing::ElementsAre;

std::shared_ptr<TableMapping> Mapping() {
  auto mapping = std::make_shared<TableMapping>();
  mapping->relation = 1;
  mapping->table = "public.t";
  mapping->key = {{.name = "id", .kind = ColumnKind::kInt},
                  {.name = "code", .kind = ColumnKind::kNumeric}};
  mapping->columns = {{.name = "id", .kind = ColumnKind::kInt},
                      {.name = "code", .kind = ColumnKind::kNumeric},
                      {.name = "v", .kind = ColumnKind::kJsonb}};
  mapping->cache = CacheMapping{.entity = "t",
                                .mode = CacheMode::kWrite,
                                .entry = "t:{id}:{code}",
                                .ttl_seconds = {},
                                .columns = {"id", "code", "v"},
                                .invalidate = {},
                                .events = {}};
  return mapping;
}

CachePlan Plan(const MappingPtr& mapping, const std::string& prefix = "app:") {
  return *CachePlan::Compile(mapping, prefix);
}

TEST(DescribeEntryTest, ReadsKeyVersionAndColumns) {
  const auto mapping = Mapping();
  const auto row = DescribeEntry(*mapping, Plan(mapping), "app:t:7:1.50",
                                 R"({"_apex_seq":12,"id":7,"code":"1.50","v":{"a": [1, "x  y"]}})");
  ASSERT_TRUE(row);
  EXPECT_EQ(row->key, R"([7,"1.50"])");
  EXPECT_EQ(row->version, 12);
  EXPECT_THAT(row->fields, ElementsAre(StoredField{"code", "\"1.50\""}, StoredField{"id", "7"},
                                       StoredField{"v", R"({"a":[1,"x  y"]})"}));
}

TEST(DescribeEntryTest, PassesOverWhatIsNotOfThisMapping) {
  const auto mapping = Mapping();
  const CachePlan plan = Plan(mapping);
  EXPECT_FALSE(DescribeEntry(*mapping, plan, "app:t:7:1", "no json"));
  EXPECT_FALSE(DescribeEntry(*mapping, plan, "app:t:7:1", R"({"id":7,"code":"1"})"));
  EXPECT_FALSE(
      DescribeEntry(*mapping, plan, "app:t:8:1", R"({"_apex_seq":12,"id":7,"code":"1","v":null})"));
}

TEST(RedisReaderTest, ExpectsWhatIsWrittenForARow) {
  auto reader = RedisReader::Create(
      {.uri = "redis://localhost", .password = "", .key_prefix = "app:", .channel = ""});
  ASSERT_TRUE(reader.ok());
  auto change = std::make_shared<Change>();
  change->mapping = Mapping();
  change->row = {1, R"([7,"1.50"])"};
  change->after = R"({"id": 7, "code": "1.50", "v": {"a": 1}})";
  auto expected = (*reader)->Expected(change);
  ASSERT_TRUE(expected.ok() && *expected);
  EXPECT_EQ((**expected).name, "app:t:7:1.50");
  EXPECT_THAT((**expected).fields,
              ElementsAre(StoredField{"code", "\"1.50\""}, StoredField{"id", "7"},
                          StoredField{"v", R"({"a":1})"}));
}

TEST(CachePlanTest, FindsItsEntriesByAPatternThatMeansItsCharactersAsTheyAre) {
  EXPECT_EQ(Plan(Mapping(), "a*p:").EntryPattern(), R"(a\*p:t:[-0-9]*:*)");
}

}  // namespace
}  // namespace apex::redis
