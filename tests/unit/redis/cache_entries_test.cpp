#include "stores/redis/cache_entries.h"

#include <gtest/gtest.h>

#include "stores/redis/lease.h"
#include "stores/redis/slots.h"

namespace apex::redis {
namespace {

TEST(LeaseKeyTest, SaysWhichKeysCannotHaveOneInTheirSlot) {
  for (const char* key : {"doc:1", "{app}:doc:1", "doc:{1", "{app}:doc:}", "a{x}b}"}) {
    EXPECT_TRUE(LeaseIsBeside(key)) << key;
    EXPECT_EQ(SlotOf(LeaseKey(key)), SlotOf(key)) << key;
  }
  for (const char* key : {"doc:}", "doc:{}:1", "a}b{c"}) {
    EXPECT_FALSE(LeaseIsBeside(key)) << key;
    EXPECT_NE(SlotOf(LeaseKey(key)), SlotOf(key)) << key;
  }
}

TEST(LeaseKeyTest, LiesInTheSlotOfItsKey) {
  EXPECT_EQ(LeaseKey("doc:1"), "{doc:1}#lease");
  EXPECT_EQ(LeaseKey("{app}:doc:1"), "{app}:doc:1#lease");
  // Redis takes the whole key where nothing stands between the first brace and its partner.
  EXPECT_EQ(LeaseKey("doc:{}:1"), "{doc:{}:1}#lease");
  EXPECT_EQ(LeaseKey("doc:{1"), "{doc:{1}#lease");
}

TEST(CacheStatisticsTest, AreReadFromInfo) {
  const CacheStatistics read = ParseStatistics(
      "# Memory\r\nused_memory_human:1M\r\nused_memory:1048576\r\nmaxmemory:2097152\r\n"
      "maxmemory_policy:allkeys-lru\r\n# Stats\r\nexpired_keys:5\r\nevicted_keys:4\r\n"
      "keyspace_hits:30\r\nkeyspace_misses:10\r\n",
      7);
  EXPECT_EQ(read.total_keys, 7);
  EXPECT_EQ(read.memory_usage_bytes, 1048576);
  EXPECT_EQ(read.memory_limit_bytes, 2097152);
  EXPECT_EQ(read.eviction_policy, "allkeys-lru");
  EXPECT_EQ(read.keyspace_hits, 30);
  EXPECT_EQ(read.keyspace_misses, 10);
  EXPECT_EQ(read.evictions, 4);
  EXPECT_EQ(read.expirations, 5);
  EXPECT_DOUBLE_EQ(read.hit_rate(), 75);
}

TEST(CacheStatisticsTest, HaveARateOfZeroWhenNothingWasAsked) {
  EXPECT_DOUBLE_EQ(ParseStatistics("", 0).hit_rate(), 0);
  EXPECT_DOUBLE_EQ(ParseStatistics("keyspace_misses:3\r\n", 0).hit_rate(), 0);
  EXPECT_DOUBLE_EQ(ParseStatistics("keyspace_hits:3\r\n", 0).hit_rate(), 100);
}

TEST(ServerLifeTest, TellsAFlushAndAStartFromWhatKeepsTheKeys) {
  const ServerLife first = ParseLife("run_id:aa\r\ncmdstat_flushall:calls=2,usec=9\r\n");
  EXPECT_EQ(first.run, "aa");
  EXPECT_EQ(first.flushes, 2);
  EXPECT_FALSE(first.LostKeysSince(first));
  EXPECT_TRUE(ParseLife("run_id:bb\r\n").LostKeysSince(first));
  EXPECT_TRUE(ParseLife("run_id:aa\r\ncmdstat_flushdb:calls=1,usec=1\r\n"
                        "cmdstat_flushall:calls=2,usec=9\r\n")
                  .LostKeysSince(first));
  EXPECT_FALSE(ParseLife("run_id:aa\r\n").LostKeysSince(first)) << "CONFIG RESETSTAT";
}

}  // namespace
}  // namespace apex::redis
