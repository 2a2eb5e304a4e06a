#include "core/uri.h"

#include <gtest/gtest.h>

namespace apex {
namespace {

TEST(UriTest, TakesEveryPartApart) {
  const auto uri = ParseUri("Redis://app:p%40ss%2Fword@cache.example:6380/3");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->scheme, "redis");
  EXPECT_EQ(uri->user, "app");
  EXPECT_EQ(uri->password, "p@ss/word");
  EXPECT_EQ(uri->host, "cache.example");
  EXPECT_EQ(uri->port, 6380);
  EXPECT_EQ(uri->path, "/3");
}

TEST(UriTest, LeavesAbsentPartsAbsent) {
  const auto uri = ParseUri("neo4j+s://graph");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->scheme, "neo4j+s");
  EXPECT_EQ(uri->host, "graph");
  EXPECT_FALSE(uri->user);
  EXPECT_FALSE(uri->password);
  EXPECT_FALSE(uri->port);
  EXPECT_EQ(uri->path, "");
}

TEST(UriTest, ReadsAnEmptyUserBeforeAPassword) {
  const auto uri = ParseUri("redis://:secret@localhost");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->user, "");
  EXPECT_EQ(uri->password, "secret");
}

TEST(UriTest, ReadsAnIpv6AddressInBrackets) {
  const auto uri = ParseUri("bolt://[::1]:7687");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->host, "::1");
  EXPECT_EQ(uri->port, 7687);
}

TEST(UriTest, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", "localhost:6379", "://host", "redis://", "redis://:6379",
        "redis://host:", "redis://host:x", "redis://host:65536", "redis://host:-1", "redis://a b",
        "redis://u:%zz@host", "redis://u:%4@host", "redis://[::1", "redis://[::1]x", "redis://::1",
        "http://host/?q=1", "http://host?q=1", "1a://host"}) {
    EXPECT_FALSE(ParseUri(text)) << text;
  }
}

TEST(UriTest, OneOfSeveralHostsIsRead) {
  const auto uri = ParseUriOfHosts("redis+cluster://u:p@a,b:1,[::1]:2/x");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->scheme, "redis+cluster");
  EXPECT_EQ(uri->password, "p");
  EXPECT_EQ(uri->path, "/x");
  ASSERT_EQ(uri->hosts.size(), 3U);
  EXPECT_EQ(uri->hosts[0].host, "a");
  EXPECT_EQ(uri->hosts[1].port, 1);
  EXPECT_EQ(uri->hosts[2].host, "::1");
  for (const char* text : {"redis://a,", "redis://,a", "redis://a,,b", "redis://a,b:x"})
    EXPECT_FALSE(ParseUriOfHosts(text)) << text;
  EXPECT_FALSE(ParseUri("redis://a,b")) << "where one host is meant";
}

TEST(HostPortTest, SeparatesThePort) {
  const auto parsed = ParseHostPort("127.0.0.1:0");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->host, "127.0.0.1");
  EXPECT_EQ(parsed->port, 0);
}

}  // namespace
}  // namespace apex
