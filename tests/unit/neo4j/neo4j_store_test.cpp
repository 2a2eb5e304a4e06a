// What Neo4jStore makes of a server's answers; what it leaves in a real one is tested by
// live_neo4j.
#include "stores/neo4j/neo4j_store.h"

#include <gmock/gmock.h>

#include "scripted_server.h"
#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

constexpr std::string_view kDeadlock = "Neo.TransientError.Transaction.DeadlockDetected";
constexpr std::string_view kDivisionByZero = "Neo.ClientError.Statement.ArithmeticError";

/// CheckFence and the one statement of a row without relationships.
constexpr int kStatements = 2;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

MappingPtr Authors() {
  auto mapping = std::make_shared<TableMapping>();
  mapping->table = "public.authors";
  mapping->key = {{"id", ColumnKind::kInt, false}};
  mapping->columns = mapping->key;
  mapping->node = NodeMapping{"Author", {}, {}};
  return mapping;
}

RowWrite Upsert(const MappingPtr& mapping, std::optional<std::string> after = R"({"id": 1})") {
  auto change = std::make_shared<Change>();
  change->seq = 10;
  change->op = Operation::kUpdate;
  change->mapping = mapping;
  change->row = RowId{1, "[1]"};
  change->after = std::move(after);
  return RowWrite{10, change, {}};
}

void ReceiveTransaction(ScriptedServer::Peer& peer) {
  for (int i = 0; i < 2 + 2 * kStatements; ++i) peer.ReceiveTag();
}

/// Answers a whole transaction, its last statement with this count.
void Commit(ScriptedServer::Peer& peer, int64_t rows) {
  ReceiveTransaction(peer);
  peer.Succeed();
  for (int i = 0; i < kStatements; ++i) {
    peer.Succeed();
    peer.Count(i + 1 == kStatements ? rows : 1);
    peer.Succeed();
  }
  peer.Succeed();
}

/// Lets the statement with this index fail, and answers the reset.
void Refuse(ScriptedServer::Peer& peer, int index, std::string_view code) {
  ReceiveTransaction(peer);
  peer.Succeed();
  for (int i = 0; i < index; ++i) {
    peer.Succeed();
    peer.Count(1);
    peer.Succeed();
  }
  peer.Succeed();
  peer.Fail("neo4j_code", code);
  for (int left = 2 * (kStatements - index - 1) + 1; left > 0; --left) peer.Ignore();
  peer.ReceiveTag();
  peer.Succeed();
}

Status WriteTo(const ScriptedServer& server, const std::vector<RowWrite>& rows) {
  Neo4jStore store(Options{"bolt://" + ToString(server.uri().address), "neo4j", "secret", "neo4j"});
  return store.Write(Fence{"default", 1}, rows, Soon());
}

TEST(Neo4jStoreTest, TriesADeadlockAgainOnTheSameConnection) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    Refuse(peer, 1, kDeadlock);
    Refuse(peer, 0, kDeadlock);
    Commit(peer, 1);
  });
  Status status = WriteTo(server, {Upsert(Authors())});
  EXPECT_TRUE(status.ok()) << Describe(status.error());
}

TEST(Neo4jStoreTest, GivesADeadlockUpAsTransientAfterAFewAttempts) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    for (int i = 0; i < 5; ++i) Refuse(peer, 1, kDeadlock);
  });
  Status status = WriteTo(server, {Upsert(Authors())});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(status.error().native_code, kDeadlock);
}

TEST(Neo4jStoreTest, AsksForTheLeaderAgainWhenTheOneItHadStepsDown) {
  for (const std::string_view code :
       {"Neo.ClientError.Cluster.NotALeader", "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase",
        "Neo.TransientError.General.DatabaseUnavailable"}) {
    ScriptedServer stepped_down([code](ScriptedServer::Peer& peer) {
      peer.Welcome(5, 8);
      Refuse(peer, 0, code);
    });
    ScriptedServer elected([](ScriptedServer::Peer& peer) {
      peer.Welcome(5, 8);
      Commit(peer, 1);
    });
    const auto names = [](const ScriptedServer& leader) -> ScriptedServer::Script {
      return [&leader](ScriptedServer::Peer& peer) {
        peer.Welcome(5, 8);
        peer.Route({}, {leader.uri().address});
      };
    };
    ScriptedServer router(std::vector<ScriptedServer::Script>{names(stepped_down), names(elected)});
    Neo4jStore store(
        Options{"neo4j://" + ToString(router.uri().address), "neo4j", "secret", "neo4j"});
    const std::vector<RowWrite> rows{Upsert(Authors())};
    const Status refused = store.Write(Fence{"default", 1}, rows, Soon());
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().kind, ErrorKind::kTransient) << code;
    EXPECT_EQ(refused.error().native_code, code);
    const Status written = store.Write(Fence{"default", 1}, rows, Soon());
    EXPECT_TRUE(written.ok()) << Describe(written.error());
  }
}

TEST(Neo4jStoreTest, IsFencedWhenItsFirstStatementDividesByZero) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    Refuse(peer, 0, kDivisionByZero);
  });
  Status status = WriteTo(server, {Upsert(Authors())});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(status.error().native_code, kFenced);
}

TEST(Neo4jStoreTest, IsNotFencedWhenAnotherStatementDoes) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    Refuse(peer, 1, kDivisionByZero);
  });
  Status status = WriteTo(server, {Upsert(Authors())});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().native_code, kDivisionByZero);
}

TEST(Neo4jStoreTest, DoesNotTrustAnAcknowledgementThatCountsTooFewRows) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    Commit(peer, 0);
  });
  Status status = WriteTo(server, {Upsert(Authors())});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(status.error().native_code, kShortfall);
}

TEST(Neo4jStoreTest, AsksNothingOfTheServerForRowsWithoutGraph) {
  Neo4jStore store(Options{"bolt://127.0.0.1:1", "neo4j", "", "neo4j"});
  const std::vector<RowWrite> rows{Upsert(std::make_shared<TableMapping>())};
  EXPECT_TRUE(store.Write(Fence{"default", 1}, rows, Soon()).ok());
}

TEST(Neo4jStoreTest, WaitsForAServerThatIsNotThere) {
  Neo4jStore store(Options{"bolt://127.0.0.1:1", "neo4j", "", "neo4j"});
  Status status = store.Ping(Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(status.error().native_code, kConnectFailed);
}

TEST(Neo4jStoreTest, FailsEveryCallWhenTheUriCannotBeRead) {
  Neo4jStore store(Options{"http://127.0.0.1", "neo4j", "", "neo4j"});
  Status status = store.Ping(Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
}

TEST(Neo4jStoreTest, RefusesAnUpsertWithoutImage) {
  Neo4jStore store(Options{"bolt://127.0.0.1:1", "neo4j", "", "neo4j"});
  const std::vector<RowWrite> rows{Upsert(Authors(), std::nullopt)};
  Status status = store.Write(Fence{"default", 1}, rows, Soon());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(status.error().native_code, kUnencodable);
}

}  // namespace
}  // namespace apex::neo4j
