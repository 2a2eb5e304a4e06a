#include "stores/redis/commands.h"

#include <gtest/gtest.h>

namespace apex::redis {
namespace {

TEST(CommandsTest, AreWrittenAsArraysOfBulkStrings) {
  Commands commands{{"PING"}, {"SET", "k", std::string_view("a\r\n\0b", 5)}};
  EXPECT_EQ(
      commands.bytes(),
      std::string_view("*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\n\0b\r\n", 45));
  EXPECT_EQ(commands.size(), 2U);
}

TEST(CommandsTest, KnowWhereEachBeginsAlsoAfterOthersWereAppended) {
  Commands commands{{"PING"}};
  const size_t first = commands.bytes().size();
  commands.Append({{"DEL", "k"}, {"PING"}});
  ASSERT_EQ(commands.size(), 3U);
  EXPECT_EQ(commands.start(0), 0U);
  EXPECT_EQ(commands.start(1), first);
  EXPECT_EQ(commands.start(2), commands.bytes().size() - first);
  EXPECT_EQ(commands.start(3), commands.bytes().size());
}

TEST(CommandsTest, NameTheirKeys) {
  Commands commands{{"PING"}};
  commands.Add({"GET", "k"}, 1);
  commands.Add({"EVALSHA", "digest", "2", "first", "second", "x"}, 3);
  commands.Add({"SET", "", "v"}, 1);
  Commands others{{"PING"}};
  others.Append(commands);
  others.Append(commands, 2);
  for (size_t shift = 0; const Commands* each : {&commands, &others}) {
    EXPECT_FALSE(each->key(shift));
    EXPECT_EQ(each->key(shift + 1), "k");
    EXPECT_EQ(each->key(shift + 2), "first");
    EXPECT_EQ(each->key(shift + 3), "");
    ++shift;
  }
  EXPECT_EQ(others.key(5), "first");
  EXPECT_EQ(others.bytes().substr(others.start(5)),
            commands.bytes().substr(commands.start(2), commands.start(3) - commands.start(2)));
}

}  // namespace
}  // namespace apex::redis
