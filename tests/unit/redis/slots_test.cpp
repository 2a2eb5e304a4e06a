#include "stores/redis/slots.h"

#include <gmock/gmock.h>

namespace apex::redis {
namespace {

using net::Address;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

Reply Text(std::string text) { return {.type = Reply::Type::kText, .text = std::move(text)}; }
Reply Number(int64_t number) { return {.type = Reply::Type::kInteger, .integer = number}; }
Reply Array(std::vector<Reply> elements) {
  return {.type = Reply::Type::kArray, .elements = std::move(elements)};
}
Reply Node(const std::string& host, int64_t port) {
  return Array({Text(host), Number(port), Text("id")});
}

const Address kAsked{"10.0.0.9", 6379};

TEST(SlotsTest, AreRedissOwn) {
  // As CLUSTER KEYSLOT answers.
  EXPECT_EQ(SlotOf("123456789"), 0x31C3 % kSlots);
  EXPECT_EQ(SlotOf("foo"), 12182);
  EXPECT_EQ(SlotOf("{foo}.bar"), 12182);
  EXPECT_EQ(SlotOf("a{foo}b{bar}"), 12182);
  EXPECT_EQ(SlotOf(""), 0);
  EXPECT_EQ(SlotOf("foo{}{bar}"), SlotOf("foo{}{bar}"));
  EXPECT_NE(SlotOf("foo{}{bar}"), SlotOf("bar")) << "an empty tag is none";
  EXPECT_NE(SlotOf("foo{bar"), SlotOf("bar"));
  EXPECT_EQ(SlotOf("foo{{bar}}zap"), SlotOf("{bar"));
}

TEST(SlotsTest, AMapNamesThePrimaryOfEachSlot) {
  const auto map = SlotMap::Parse(
      Array({Array({Number(0), Number(99), Node("10.0.0.1", 1), Node("10.0.0.4", 4)}),
             Array({Number(100), Number(16383), Node("", 2), Node("?", 5)})}),
      kAsked);
  ASSERT_TRUE(map);
  EXPECT_EQ(*map->PrimaryOf(0), (Address{"10.0.0.1", 1}));
  EXPECT_EQ(*map->PrimaryOf(99), (Address{"10.0.0.1", 1}));
  EXPECT_EQ(*map->PrimaryOf(16383), (Address{"10.0.0.9", 2}))
      << "a server that has no name of its own";
  EXPECT_THAT(map->Primaries(), ElementsAre(Address{"10.0.0.1", 1}, Address{"10.0.0.9", 2}));
  EXPECT_THAT(map->nodes(), UnorderedElementsAre(Address{"10.0.0.1", 1}, Address{"10.0.0.9", 2},
                                                 Address{"10.0.0.4", 4}));
}

TEST(SlotsTest, ASlotThatNobodyServesHasNoPrimary) {
  const auto map =
      SlotMap::Parse(Array({Array({Number(0), Number(0), Node("10.0.0.1", 1)})}), kAsked);
  ASSERT_TRUE(map);
  EXPECT_EQ(map->PrimaryOf(1), nullptr);
}

TEST(SlotsTest, AMapThatIsNoneIsRefused) {
  for (const Reply& reply : {Reply{}, Array({}), Array({Array({Number(0), Number(1)})}),
                             Array({Array({Number(0), Number(16384), Node("h", 1)})}),
                             Array({Array({Number(-1), Number(5), Node("h", 1)})}),
                             Array({Array({Number(5), Number(4), Node("h", 1)})}),
                             Array({Array({Number(0), Number(1), Node("?", 1)})}),
                             Array({Array({Number(0), Number(1), Node("h", 70000)})})}) {
    EXPECT_FALSE(SlotMap::Parse(reply, kAsked));
  }
}

TEST(SlotsTest, AMovedSlotGoesToItsNewPrimaryAndAServerWithoutSlotsIsNone) {
  auto map = SlotMap::Parse(Array({Array({Number(0), Number(0), Node("10.0.0.1", 1)}),
                                   Array({Number(1), Number(1), Node("10.0.0.2", 2)})}),
                            kAsked);
  ASSERT_TRUE(map);
  map->Move(0, {"10.0.0.3", 3});
  EXPECT_EQ(*map->PrimaryOf(0), (Address{"10.0.0.3", 3}));
  EXPECT_THAT(map->Primaries(),
              UnorderedElementsAre(Address{"10.0.0.3", 3}, Address{"10.0.0.2", 2}));
}

TEST(SlotsTest, ReadsRedirections) {
  const auto moved = ParseRedirection("MOVED 3999 127.0.0.1:6381", kAsked);
  ASSERT_TRUE(moved);
  EXPECT_FALSE(moved->once);
  EXPECT_EQ(moved->slot, 3999);
  EXPECT_EQ(moved->address, (Address{"127.0.0.1", 6381}));
  const auto ask = ParseRedirection("ASK 1 ::1:7000", kAsked);
  ASSERT_TRUE(ask);
  EXPECT_TRUE(ask->once);
  EXPECT_EQ(ask->address, (Address{"::1", 7000}));
  EXPECT_EQ(ParseRedirection("MOVED 1 :7000", kAsked)->address, (Address{"10.0.0.9", 7000}));
  for (const char* words : {"", "MOVED", "MOVED 1", "MOVED x h:1", "MOVED 16384 h:1", "MOVED 1 h",
                            "MOVED 1 h:x", "TRYAGAIN", "ERR MOVED 1 h:1"}) {
    EXPECT_FALSE(ParseRedirection(words, kAsked)) << words;
  }
}

}  // namespace
}  // namespace apex::redis
