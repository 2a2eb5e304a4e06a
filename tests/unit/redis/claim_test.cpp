#include "stores/redis/claim.h"

#include <gmock/gmock.h>

namespace apex::redis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Fence Of(std::string pipeline, int64_t epoch, std::string database = "1/app") {
  return {.pipeline = std::move(pipeline), .epoch = epoch, .database = std::move(database)};
}

std::string Line(int id, const std::string& name) {
  return "id=" + std::to_string(id) + " addr=127.0.0.1:6 laddr=127.0.0.1:7 fd=8 name=" + name +
         " age=1 idle=0 flags=N db=0 cmd=ping user=default redir=-1 resp=2\n";
}

TEST(ClaimTest, NamesAreWhatRedisTakesForANameWhateverTheDatabaseIsCalled) {
  const std::string name = ClaimName(Of("orders-2.b", 7, "7001/Straße der Daten\n"), 3);
  EXPECT_TRUE(name.starts_with("apex:orders-2.b:"));
  EXPECT_TRUE(name.ends_with(":7:3"));
  EXPECT_TRUE(std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f; }));
}

TEST(ClaimTest, FindsEarlierEpochsAndEarlierConnectionsOfItsOwnEpoch) {
  const Fence fence = Of("default", 10);
  const std::string list = Line(1, ClaimName(Of("default", 9), 5)) +
                           Line(2, ClaimName(Of("default", 10), 1)) + Line(3, ClaimName(fence, 2)) +
                           Line(4, ClaimName(Of("default", 11), 1)) +
                           Line(5, ClaimName(Of("default", 2), 30)) + Line(6, "");
  EXPECT_THAT(OlderClaims(list, fence, 2), ElementsAre("1", "2", "5"));
}

TEST(ClaimTest, LeavesOtherPipelinesDatabasesAndClientsAlone) {
  const Fence fence = Of("default", 10);
  const std::string list = Line(1, ClaimName(Of("default2", 1), 1)) +
                           Line(2, ClaimName(Of("default", 1, "1/other"), 1)) +
                           Line(3, "apex:default") + Line(4, "apex:default:1:1") +
                           Line(5, ClaimName(fence, 1) + "x") + Line(6, "web");
  EXPECT_THAT(OlderClaims(list, fence, 5), IsEmpty());
  EXPECT_THAT(OlderClaims("", fence, 5), IsEmpty());
  EXPECT_THAT(OlderClaims("garbage", fence, 5), IsEmpty());
}

}  // namespace
}  // namespace apex::redis
