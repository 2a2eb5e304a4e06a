#include "stores/redis/target.h"

#include <gmock/gmock.h>

namespace apex::redis {
namespace {

using net::Address;
using testing::ElementsAre;
using Kind = Target::Kind;

std::optional<Target> Parse(const std::string& uri, const std::string& password = "") {
  return ParseTarget({.uri = uri, .password = password, .key_prefix = ""});
}

TEST(TargetTest, IsOneServer) {
  const auto target = Parse("redis://app:p%40ss@cache.example/3");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->kind, Kind::kServer);
  EXPECT_THAT(target->addresses, ElementsAre(Address{"cache.example", 6379}));
  EXPECT_EQ(target->user, "app");
  EXPECT_EQ(target->password, "p@ss");
  EXPECT_EQ(target->database, 3);
  EXPECT_FALSE(target->tls);
  EXPECT_EQ(Parse("redis://h:1/")->addresses.front(), (Address{"h", 1}));
  EXPECT_EQ(Parse("redis://h", "secret")->password, "secret");
}

TEST(TargetTest, IsACluster) {
  const auto target = Parse("redis+cluster://u:p@a,b:7001,[::1]:7002");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->kind, Kind::kCluster);
  EXPECT_THAT(target->addresses,
              ElementsAre(Address{"a", 6379}, Address{"b", 7001}, Address{"::1", 7002}));
  EXPECT_EQ(target->password, "p");
}

TEST(TargetTest, IsAPrimaryThatSentinelsName) {
  const auto target = Parse("redis+sentinel://:p@a,b:5000/my-primary/2");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->kind, Kind::kSentinel);
  EXPECT_THAT(target->addresses, ElementsAre(Address{"a", 26379}, Address{"b", 5000}));
  EXPECT_EQ(target->service, "my-primary");
  EXPECT_EQ(target->database, 2);
  EXPECT_EQ(Parse("redis+sentinel://a/m")->database, 0);
}

TEST(TargetTest, IsEncryptedWithTwoS) {
  const auto target = ParseTarget({.uri = "rediss+cluster://a",
                                   .password = "",
                                   .key_prefix = "",
                                   .tls_ca_file = "ca",
                                   .tls_cert_file = "cert",
                                   .tls_key_file = "key"});
  ASSERT_TRUE(target && target->tls);
  EXPECT_TRUE(target->tls->verify);
  EXPECT_EQ(target->tls->ca_file + target->tls->cert_file + target->tls->key_file, "cacertkey");
  EXPECT_TRUE(Parse("rediss://a")->tls);
  EXPECT_TRUE(Parse("rediss+sentinel://a/m")->tls);
}

TEST(TargetTest, RefusesTheRest) {
  for (const char* uri :
       {"", "redis://", "redis://a,b", "redis://a/x", "redis://a/-1", "redis://a:0",
        "redis+cluster://a/1", "redis+cluster://a,", "redis+cluster://a,:1", "redis+sentinel://a",
        "redis+sentinel://a/", "redis+sentinel://a//1", "redis+sentinel://a/m/x", "redisx://a",
        "redis+x://a", "rediss+://a", "http://a", "valkey://a"}) {
    EXPECT_FALSE(Parse(uri)) << uri;
  }
}

}  // namespace
}  // namespace apex::redis
