#include "cache/most_read.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace apex::cache {
namespace {

using testing::ElementsAre;

std::vector<std::string> Keys(const MostRead& counted) {
  std::vector<std::string> keys;
  for (const MostRead::Row& row : counted.Top()) keys.push_back(row.entity + row.key.front());
  return keys;
}

TEST(MostReadTest, PutsTheMostReadFirst) {
  MostRead counted(10);
  for (int i = 0; i < 3; ++i) counted.Count("doc", {"b"});
  counted.Count("doc", {"a"});
  for (int i = 0; i < 2; ++i) counted.Count("user", {"b"});
  EXPECT_THAT(Keys(counted), ElementsAre("docb", "userb", "doca"));
}

TEST(MostReadTest, KeepsWhatIsReadOftenAmongManyThatAreNot) {
  MostRead counted(10);
  for (int i = 0; i < 1000; ++i) {
    counted.Count("doc", {"often"});
    counted.Count("doc", {std::to_string(i)});
  }
  const auto keys = Keys(counted);
  EXPECT_EQ(keys.size(), 10U);
  EXPECT_EQ(keys.front(), "docoften");
}

TEST(MostReadTest, TellsKeysOfSeveralColumnsApart) {
  MostRead counted(10);
  counted.Count("page", {"a", "b"});
  counted.Count("page", {"ab"});
  EXPECT_EQ(counted.Top().size(), 2U);
}

}  // namespace
}  // namespace apex::cache
