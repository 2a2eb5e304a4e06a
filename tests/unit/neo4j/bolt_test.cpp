// The Bolt client against a server made of a script: what it sends, and what it makes of answers no
// healthy server gives.
#include <gmock/gmock.h>

#include "scripted_server.h"
#include "stores/neo4j/bolt_connection.h"
#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

using namespace std::string_literals;  // NOLINT(google-build-using-namespace): bytes with zeros
using packstream::Value;
using packstream::Writer;
using ::testing::HasSubstr;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

std::vector<Statement> Statements(size_t count) {
  return std::vector<Statement>(count, Statement{"RETURN 1", "\xA0", 1});
}

TEST(HandshakeTest, OffersBolt5DownTo0AndBolt44) {
  EXPECT_EQ(HandshakeRequest(), "\x60\x60\xB0\x17\0\x08\x08\x05\0\0\x04\x04\0\0\0\0\0\0\0\0"s);
}

TEST(HandshakeTest, TakesOnlyAVersionItOffered) {
  EXPECT_EQ(HandshakeAnswer({0, 0, 8, 5}), (BoltVersion{5, 8}));
  EXPECT_EQ(HandshakeAnswer({0, 0, 0, 5}), (BoltVersion{5, 0}));
  EXPECT_EQ(HandshakeAnswer({0, 0, 4, 4}), (BoltVersion{4, 4}));
  EXPECT_EQ(HandshakeAnswer({0, 0, 0, 0}), std::nullopt);
  EXPECT_EQ(HandshakeAnswer({0, 0, 9, 5}), std::nullopt);
  EXPECT_EQ(HandshakeAnswer({0, 0, 3, 4}), std::nullopt);
  EXPECT_EQ(HandshakeAnswer({'H', 'T', 'T', 'P'}), std::nullopt);
}

TEST(BoltConnectionTest, LogsOnAsTheVersionAsks) {
  Value hello, logon;
  {
    ScriptedServer server([&](ScriptedServer::Peer& peer) {
      peer.Welcome(5, 8);
      hello = peer.hello;
      logon = peer.logon;
    });
    auto connection = server.Open(server.uri());
    ASSERT_TRUE(connection.ok()) << Describe(connection.error());
    EXPECT_TRUE((*connection)->utc_datetimes());
  }
  const Value& fields = hello.As<packstream::Structure>()->fields.front();
  EXPECT_EQ(fields.Find("credentials"), nullptr);
  EXPECT_NE(fields.Find("bolt_agent"), nullptr);
  EXPECT_EQ(fields.Find("routing"), nullptr);
  EXPECT_EQ(logon.As<packstream::Structure>()->fields.front().FindString("credentials"), "secret");
}

TEST(BoltConnectionTest, SendsCredentialsWithHelloToBolt44) {
  Value hello;
  {
    ScriptedServer server([&](ScriptedServer::Peer& peer) {
      peer.Welcome(4, 4);
      hello = peer.hello;
    });
    auto connection = server.Open(server.uri());
    ASSERT_TRUE(connection.ok()) << Describe(connection.error());
    EXPECT_FALSE((*connection)->utc_datetimes());
  }
  const Value& fields = hello.As<packstream::Structure>()->fields.front();
  EXPECT_EQ(fields.FindString("principal"), "neo4j");
  EXPECT_EQ(fields.Find("bolt_agent"), nullptr);
}

TEST(BoltConnectionTest, SpeaksEveryVersionItOffers) {
  for (const BoltVersion version :
       {BoltVersion{4, 4}, BoltVersion{5, 0}, BoltVersion{5, 1}, BoltVersion{5, 2},
        BoltVersion{5, 3}, BoltVersion{5, 4}, BoltVersion{5, 5}, BoltVersion{5, 6},
        BoltVersion{5, 7}, BoltVersion{5, 8}}) {
    ScriptedServer server([version](ScriptedServer::Peer& peer) {
      peer.Welcome(version.major, version.minor);
      for (int i = 0; i < 4; ++i) peer.ReceiveTag();
      peer.Succeed();
      peer.Succeed();
      peer.Count(1);
      peer.Succeed();
      peer.Succeed();
    });
    auto connection = server.Open(server.uri());
    ASSERT_TRUE(connection.ok()) << version.minor << ": " << Describe(connection.error());
    EXPECT_EQ((*connection)->version(), version);
    const TransactionOutcome outcome =
        (*connection)->RunTransaction("neo4j", Statements(1), "write", Soon());
    EXPECT_FALSE(outcome.error) << version.minor;
  }
}

TEST(BoltConnectionTest, HoldsWhenThePasswordIsWrong) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.ReceiveBytes(20);
    peer.Send("\0\0\4\5"s);
    peer.ReceiveTag();
    peer.Succeed();
    peer.ReceiveTag();
    peer.Fail("code", "Neo.ClientError.Security.Unauthorized");
  });
  auto connection = server.Open(server.uri());
  ASSERT_FALSE(connection.ok());
  EXPECT_EQ(connection.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(connection.error().native_code, "Neo.ClientError.Security.Unauthorized");
  EXPECT_EQ(connection.error().operation, "authenticate");
}

TEST(BoltConnectionTest, ReadsTheAnswersOfAPipelinedTransactionInOrder) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 4);
    // Everything has been sent before the first answer comes.
    for (int i = 0; i < 6; ++i) peer.ReceiveTag();
    peer.Succeed();
    for (int64_t rows : {7, 8}) {
      peer.Succeed();
      peer.Count(rows);
      peer.Succeed();
    }
    peer.Succeed();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  const TransactionOutcome outcome =
      (*connection)->RunTransaction("neo4j", Statements(2), "write", Soon());
  EXPECT_FALSE(outcome.error);
  ASSERT_EQ(outcome.results.size(), 2u);
  EXPECT_EQ(*outcome.results[1].front().front().As<int64_t>(), 8);
}

TEST(BoltConnectionTest, ResetsAfterAFailureAndStaysUsable) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    for (int i = 0; i < 6; ++i) peer.ReceiveTag();
    peer.Succeed();
    peer.Succeed();
    peer.Count(1);
    peer.Succeed();
    peer.Fail("neo4j_code", "Neo.ClientError.Statement.TypeError");
    peer.Ignore();
    peer.Ignore();
    EXPECT_EQ(peer.ReceiveTag(), 0x0F);
    peer.Succeed();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  const TransactionOutcome outcome =
      (*connection)->RunTransaction("neo4j", Statements(2), "write", Soon());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->kind, ErrorKind::kPermanent);
  EXPECT_EQ(outcome.error->native_code, "Neo.ClientError.Statement.TypeError");
  EXPECT_EQ(outcome.error->message, "the server's own words");
  EXPECT_EQ(outcome.results.size(), 1u);
  EXPECT_FALSE((*connection)->broken());
}

TEST(BoltConnectionTest, DoesNotKnowTheOutcomeWhenTheConnectionIsLostBeforeCommitIsAnswered) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    for (int i = 0; i < 4; ++i) peer.ReceiveTag();
    peer.Succeed();
    peer.HangUp();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  const TransactionOutcome outcome =
      (*connection)->RunTransaction("neo4j", Statements(1), "write", Soon());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(outcome.error->native_code, kConnectionLost);
  EXPECT_EQ(outcome.error->operation, "write");
  EXPECT_TRUE((*connection)->broken());
}

TEST(BoltConnectionTest, DoesNotKnowTheOutcomeWhenTheServerClosesItsHalf) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    for (int i = 0; i < 4; ++i) peer.ReceiveTag();
    peer.Succeed();
    peer.FallSilent();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  const TransactionOutcome outcome =
      (*connection)->RunTransaction("neo4j", Statements(1), "write", Soon());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(outcome.error->native_code, kConnectionLost);
  EXPECT_FALSE((*connection)->StillOpen());
}

TEST(BoltConnectionTest, DropsAConnectionThatBringsAMessageOverTheBound) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    for (int i = 0; i < 4; ++i) peer.ReceiveTag();
    const std::string chunk = "\xFF\xFF"s + std::string(0xFFFF, 'x');
    for (size_t sent = 0; sent <= kIncomingMessageBytesMax; sent += 0xFFFF) peer.Send(chunk);
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  const TransactionOutcome outcome =
      (*connection)->RunTransaction("neo4j", Statements(1), "write", Soon());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(outcome.error->native_code, kProtocol);
  EXPECT_TRUE((*connection)->broken());
}

TEST(BoltConnectionTest, TakesNothingForDoneThatWasIgnoredThoughNothingFailed) {
  // The transaction's parts in turn: BEGIN, RUN, PULL, COMMIT.
  for (int ignored = 0; ignored < 4; ++ignored) {
    ScriptedServer server([ignored](ScriptedServer::Peer& peer) {
      peer.Welcome(5, 8);
      for (int i = 0; i < 4; ++i) peer.ReceiveTag();
      for (int i = 0; i < 4; ++i) {
        if (i == 2 && ignored != 2) peer.Count(1);
        i == ignored ? peer.Ignore() : peer.Succeed();
      }
    });
    auto connection = server.Open(server.uri());
    ASSERT_TRUE(connection.ok());
    const TransactionOutcome outcome =
        (*connection)->RunTransaction("neo4j", Statements(1), "write", Soon());
    ASSERT_TRUE(outcome.error) << ignored;
    EXPECT_EQ(outcome.error->kind, ErrorKind::kUnknownOutcome);
    EXPECT_EQ(outcome.error->native_code, kProtocol);
    EXPECT_TRUE((*connection)->broken());
  }
}

TEST(BoltConnectionTest, LosesTheConnectionAndNotTheReasonWhenAResetIsNotAnswered) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    for (int i = 0; i < 4; ++i) peer.ReceiveTag();
    peer.Succeed();
    peer.Fail("neo4j_code", "Neo.ClientError.Statement.TypeError");
    peer.Ignore();
    peer.Ignore();
    EXPECT_EQ(peer.ReceiveTag(), 0x0F);
    peer.HangUp();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  const TransactionOutcome outcome =
      (*connection)->RunTransaction("neo4j", Statements(1), "write", Soon());
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->kind, ErrorKind::kPermanent);
  EXPECT_TRUE((*connection)->broken());
}

TEST(BoltConnectionTest, ReturnsByItsDeadlineWhenTheServerSaysNothing) {
  ScriptedServer server([](ScriptedServer::Peer&) {});
  auto connection = BoltConnection::Open(server.uri().address, server.uri(), {},
                                         Deadline::After(std::chrono::milliseconds(100)));
  ASSERT_FALSE(connection.ok());
  EXPECT_EQ(connection.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(connection.error().native_code, kTimeout);
}

/// The numbers of each page.
Status StreamNumbers(BoltConnection& connection, std::vector<std::vector<int64_t>>& pages) {
  return connection.Stream("neo4j", Statement{"RETURN 1", "\xA0", 0}, "read", 2,
                           std::chrono::seconds(60), [&pages](const Records& records) -> Status {
                             std::vector<int64_t>& page = pages.emplace_back();
                             for (const auto& record : records)
                               page.push_back(*record.front().As<int64_t>());
                             return {};
                           });
}

void HasMore(ScriptedServer::Peer& peer) {
  peer.Answer(kSuccess, [](Writer& out) {
    out.MapHeader(1);
    out.String("has_more");
    out.Bool(true);
  });
}

TEST(BoltConnectionTest, StreamsPageByPageAndAsksForEachWhenItIsWanted) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    peer.ReceiveTag();  // RUN
    peer.ReceiveTag();  // PULL
    peer.Succeed();
    peer.Count(1);
    peer.Count(2);
    HasMore(peer);
    peer.ReceiveTag();
    peer.Count(3);
    peer.Succeed();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  std::vector<std::vector<int64_t>> pages;
  ASSERT_TRUE(StreamNumbers(**connection, pages).ok());
  EXPECT_EQ(pages, (std::vector<std::vector<int64_t>>{{1, 2}, {3}}));
  EXPECT_FALSE((*connection)->broken());
}

TEST(BoltConnectionTest, EndsAStreamThatTheServerRefusesAndStaysUsable) {
  ScriptedServer server([](ScriptedServer::Peer& peer) {
    peer.Welcome(5, 8);
    peer.ReceiveTag();
    peer.ReceiveTag();
    peer.Fail("code", "Neo.ClientError.Statement.SyntaxError");
    peer.Ignore();
    peer.ReceiveTag();  // RESET
    peer.Succeed();
  });
  auto connection = server.Open(server.uri());
  ASSERT_TRUE(connection.ok());
  std::vector<std::vector<int64_t>> pages;
  const Status status = StreamNumbers(**connection, pages);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().native_code, "Neo.ClientError.Statement.SyntaxError");
  EXPECT_FALSE((*connection)->broken());
}

TEST(BoltConnectionTest, NamesAServerThatIsNotNeo4jsBolt) {
  ScriptedServer server(
      [](ScriptedServer::Peer& peer) { peer.Send("HTTP/1.1 400 Bad Request\r\n\r\n"); });
  auto connection = server.Open(server.uri());
  ASSERT_FALSE(connection.ok());
  EXPECT_EQ(connection.error().native_code, kProtocol);
  EXPECT_THAT(connection.error().message, HasSubstr("in HTTP"));
}

TEST(BoltConnectionTest, DropsAConnectionThatBringsGarbage) {
  for (const std::string& garbage :
       {"\0\1\xC1\0\0"s, "\0\2\xB1\x70\0\0"s, "\0\3\xB1\x55\xA0\0\0"s, "\0\1\x01\0\0"s}) {
    ScriptedServer server([&garbage](ScriptedServer::Peer& peer) {
      peer.Welcome(5, 8);
      peer.Send(garbage);
    });
    auto connection = server.Open(server.uri());
    ASSERT_TRUE(connection.ok());
    Result<Records> records = (*connection)->Run("neo4j", Statements(1).front(), "ping", Soon());
    ASSERT_FALSE(records.ok());
    EXPECT_EQ(records.error().native_code, kProtocol);
    EXPECT_TRUE((*connection)->broken());
  }
}

}  // namespace
}  // namespace apex::neo4j
