#include "stores/neo4j/uri.h"

#include <gmock/gmock.h>

namespace apex::neo4j {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(UriTest, ReadsEveryScheme) {
  struct Case {
    std::string scheme;
    bool routing;
    Security security;
  };
  for (const Case& c :
       {Case{"bolt", false, Security::kPlain}, Case{"bolt+s", false, Security::kTls},
        Case{"bolt+ssc", false, Security::kTlsUnverified}, Case{"neo4j", true, Security::kPlain},
        Case{"neo4j+s", true, Security::kTls}, Case{"neo4j+ssc", true, Security::kTlsUnverified}}) {
    Result<Uri> uri = ParseUri(c.scheme + "://graph.example:7688");
    ASSERT_TRUE(uri.ok()) << c.scheme;
    EXPECT_EQ(uri->routing, c.routing);
    EXPECT_EQ(uri->security, c.security);
    EXPECT_EQ(uri->address, (Address{"graph.example", 7688}));
  }
}

TEST(UriTest, TakesTheUsualPortWhenNoneIsGiven) {
  EXPECT_EQ(ParseUri("bolt://localhost")->address, (Address{"localhost", 7687}));
  EXPECT_EQ(ParseUri("bolt://localhost/")->address, (Address{"localhost", 7687}));
  EXPECT_EQ(ParseUri("neo4j://[::1]")->address, (Address{"::1", 7687}));
  EXPECT_EQ(ParseUri("neo4j://[::1]:1")->address, (Address{"::1", 1}));
}

TEST(UriTest, ReadsARoutingContext) {
  Result<Uri> uri = ParseUri("neo4j://localhost?region=eu&policy=near");
  ASSERT_TRUE(uri.ok());
  EXPECT_EQ(uri->routing_context, (std::vector<std::pair<std::string, std::string>>{
                                      {"region", "eu"}, {"policy", "near"}}));
}

TEST(UriTest, RefusesWhatNoDriverTakesAndRepeatsNoPassword) {
  for (const char* text :
       {"", "localhost:7687", "http://localhost", "bolt://", "bolt://:7687", "bolt://host:0",
        "bolt://host:65536", "bolt://host:x", "bolt://[::1", "bolt://[::1]7687", "bolt://host?a=b",
        "neo4j://host?a", "bolt://host/db", "bolt://neo4j:secret@host"}) {
    Result<Uri> uri = ParseUri(text);
    ASSERT_FALSE(uri.ok()) << text;
    EXPECT_EQ(uri.error().kind, ErrorKind::kPermanent);
    EXPECT_THAT(uri.error().message, Not(HasSubstr("secret")));
  }
}

TEST(UriTest, WritesAnAddressTheWayItIsRead) {
  for (const Address& address :
       {Address{"host", 1}, Address{"::1", 7687}, Address{"10.0.0.1", 65535}}) {
    EXPECT_EQ(*ParseAddress(ToString(address)), address);
  }
}

}  // namespace
}  // namespace apex::neo4j
