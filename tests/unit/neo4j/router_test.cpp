// The way to the server that takes writes: tables, dead routers, leaders that come and go.
#include "stores/neo4j/router.h"

#include <gmock/gmock.h>

#include "scripted_server.h"
#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

using packstream::Value;
using packstream::Writer;
using Peer = ScriptedServer::Peer;
using Script = ScriptedServer::Script;
using Addresses = std::vector<Address>;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

void Greet(Peer& peer) { peer.Welcome(5, 8); }

/// Greets and answers with this table; both may be filled in after the server was made.
Script Table(const Addresses& routers, const Addresses& writers) {
  return [&routers, &writers](Peer& peer) {
    Greet(peer);
    peer.Route(routers, writers);
  };
}

Address AddressOf(const ScriptedServer& server) { return server.uri().address; }

/// A port that nobody listens on.
Address Dead() { return AddressOf(ScriptedServer(std::vector<Script>())); }

Router RouterTo(const Address& seed) {
  Uri uri;
  uri.address = seed;
  uri.routing = true;
  return Router(uri, {"neo4j", "secret"}, "neo4j");
}

void ExpectOpens(Router& router, Deadline deadline = Soon()) {
  auto connection = router.Open(deadline);
  EXPECT_TRUE(connection.ok()) << Describe(connection.error());
}

TEST(RouterTest, ReadsWhoRoutesAndWhoTakesWrites) {
  std::string bytes;
  Writer out(bytes);
  out.MapHeader(1);
  out.String("servers");
  out.ListHeader(3);
  const auto server = [&out](std::string_view role,
                             const std::vector<std::string_view>& addresses) {
    out.MapHeader(2);
    out.String("role");
    out.String(role);
    out.String("addresses");
    out.ListHeader(addresses.size());
    for (std::string_view address : addresses) out.String(address);
  };
  server("WRITE", {"a.example:7688", "no port:x"});
  server("READ", {"b.example:7687"});
  server("ROUTE", {"a.example:7688", "[::1]:7687"});
  std::string_view view = bytes;
  const RoutingTable table = ParseRoutingTable(*packstream::Decode(view));
  EXPECT_THAT(table.writers, ::testing::ElementsAre(Address{"a.example", 7688}));
  EXPECT_THAT(table.routers,
              ::testing::ElementsAre(Address{"a.example", 7688}, Address{"::1", 7687}));
  EXPECT_TRUE(ParseRoutingTable(Value{}).writers.empty());
}

TEST(RouterTest, FollowsTheTableToTheWriter) {
  ScriptedServer writer(Greet);
  const Addresses writers{AddressOf(writer)};
  const Addresses routers;
  ScriptedServer seed(Table(routers, writers));
  Router router = RouterTo(AddressOf(seed));
  ExpectOpens(router);
}

TEST(RouterTest, StaysWithTheRouterThatTakesWritesItself) {
  Addresses self;
  ScriptedServer seed(Table(self, self));
  self.push_back(AddressOf(seed));
  Router router = RouterTo(AddressOf(seed));
  ExpectOpens(router);
}

TEST(RouterTest, PassesOverAWriterThatIsNotThere) {
  ScriptedServer writer(Greet);
  const Addresses writers{Dead(), AddressOf(writer)};
  const Addresses routers;
  ScriptedServer seed(Table(routers, writers));
  Router router = RouterTo(AddressOf(seed));
  ExpectOpens(router);
}

TEST(RouterTest, AsksTheNextRouterWhenTheTableOfOneIsOutOfDate) {
  ScriptedServer old_leader(Greet);
  ScriptedServer new_leader(Greet);
  Addresses routers;
  const Addresses before{AddressOf(old_leader)};
  const Addresses dead{Dead()};
  const Addresses nobody;
  const Addresses after{AddressOf(new_leader)};
  ScriptedServer first(std::vector<Script>{Table(routers, before), Table(routers, dead)});
  ScriptedServer second(Table(routers, nobody));
  ScriptedServer third(Table(routers, after));
  routers = {AddressOf(first), AddressOf(second), AddressOf(third)};
  Router router = RouterTo(AddressOf(first));
  ExpectOpens(router);
  ExpectOpens(router);
}

TEST(RouterTest, FindsTheClusterAgainWhenTheServerOfTheUriHasGone) {
  Addresses routers;
  Addresses writers;
  ScriptedServer other(std::vector<Script>{Table(routers, writers), Table(routers, writers)});
  ScriptedServer writer(std::vector<Script>{Greet, Greet, Greet});
  routers = {AddressOf(other)};
  writers = {AddressOf(writer)};
  auto seed = std::make_unique<ScriptedServer>(Table(routers, writers));
  Router router = RouterTo(AddressOf(*seed));
  ExpectOpens(router);
  seed.reset();
  ExpectOpens(router);
  ExpectOpens(router);
}

TEST(RouterTest, ComesBackToTheServerOfTheUriWhenEveryOtherRouterHasGone) {
  ScriptedServer writer(std::vector<Script>{Greet, Greet});
  const Addresses writers{AddressOf(writer)};
  const Addresses routers{Dead(), Dead()};
  ScriptedServer seed(std::vector<Script>{Table(routers, writers), Table(routers, writers)});
  Router router = RouterTo(AddressOf(seed));
  ExpectOpens(router);
  ExpectOpens(router);
}

TEST(RouterTest, LeavesTimeForTheOthersWhenARouterAcceptsAndSaysNothing) {
  ScriptedServer silent([](Peer&) {});
  ScriptedServer writer(std::vector<Script>{Greet, Greet});
  const Addresses writers{AddressOf(writer)};
  const Addresses routers{AddressOf(silent)};
  ScriptedServer seed(std::vector<Script>{Table(routers, writers), Table(routers, writers)});
  Router router = RouterTo(AddressOf(seed));
  ExpectOpens(router);
  ExpectOpens(router, Deadline::After(std::chrono::seconds(2)));
}

TEST(RouterTest, HoldsWhileNoServerTakesWrites) {
  const Addresses nobody;
  ScriptedServer seed(Table(nobody, nobody));
  auto connection = RouterTo(AddressOf(seed)).Open(Soon());
  ASSERT_FALSE(connection.ok());
  EXPECT_EQ(connection.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(connection.error().message, "no server takes writes at the moment");
}

}  // namespace
}  // namespace apex::neo4j
