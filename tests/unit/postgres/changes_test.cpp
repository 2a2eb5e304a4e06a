#include "stores/postgres/changes.h"

#include <gtest/gtest.h>

namespace apex::postgres {
namespace {

TEST(CompactJsonTest, DropsTheSpacesBetweenTokensOnly) {
  EXPECT_EQ(CompactJson(R"(["0190"])"), R"(["0190"])");
  EXPECT_EQ(CompactJson(R"(["a", 1])"), R"(["a",1])");
  EXPECT_EQ(CompactJson(R"(["a, b", "c d"])"), R"(["a, b","c d"])");
  EXPECT_EQ(CompactJson(R"({"a": [1, 2]})"), R"({"a":[1,2]})");
  EXPECT_EQ(CompactJson(""), "");
}

TEST(CompactJsonTest, IsNotMisledByEscapes) {
  EXPECT_EQ(CompactJson(R"(["a\" , b", 1])"), R"(["a\" , b",1])");
  EXPECT_EQ(CompactJson(R"(["a\\", " b"])"), R"(["a\\"," b"])");
  EXPECT_EQ(CompactJson("[\"\xC3\xA9 \xE2\x82\xAC\", 2]"), "[\"\xC3\xA9 \xE2\x82\xAC\",2]");
}

}  // namespace
}  // namespace apex::postgres
