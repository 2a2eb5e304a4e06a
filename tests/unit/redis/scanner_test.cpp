#include "stores/redis/scanner.h"

#include <gmock/gmock.h>

#include <csignal>
#include <future>

#include "fake_server.h"
#include "stores/redis/error.h"
#include "stores/redis/reply_reader.h"

namespace apex::redis {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Deadline Soon() { return Deadline::After(milliseconds(60000)); }

/// The next request; empty when the client has hung up.
std::string Hear(int fd) {
  char buffer[4096];
  const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
  return size <= 0 ? "" : std::string(buffer, static_cast<size_t>(size));
}

void Greet(int fd) {
  if (UnderstandsResp3() && !Hear(fd).empty()) Answer(fd, "%1\r\n+proto\r\n:3\r\n");
}

Scanner ScannerOf(const FakeServer& server) {
  std::signal(SIGPIPE, SIG_IGN);
  return {std::make_shared<const Login>(), [port = server.port()](Deadline) {
            return Result<net::Address>(net::Address{.host = "127.0.0.1", .port = port});
          }};
}

TEST(ScannerTest, AsksForTheNextPageBeforeThisOneIsLookedAt) {
  std::promise<std::string> asked_ahead;
  const FakeServer server([&](int fd) {
    Greet(fd);
    EXPECT_THAT(Hear(fd), HasSubstr("SCAN\r\n$1\r\n0\r\n"));
    Answer(fd, "*2\r\n$2\r\n17\r\n*2\r\n$2\r\na1\r\n$2\r\na2\r\n");
    asked_ahead.set_value(Hear(fd));
    Answer(fd, "*2\r\n$1\r\n0\r\n*2\r\n$2\r\nb1\r\n$2\r\nc1\r\n");
    EXPECT_THAT(Hear(fd), IsEmpty()) << "after the last page nothing is asked for";
  });
  Scanner scanner = ScannerOf(server);
  const PatternSet patterns({"a1*", "b1*"});
  std::string cursor = "0";
  EXPECT_THAT(*scanner.Page("test", patterns, cursor, Soon()), ElementsAre("a1"));
  EXPECT_EQ(cursor, "17");
  EXPECT_THAT(asked_ahead.get_future().get(), HasSubstr("SCAN\r\n$2\r\n17\r\n"));
  EXPECT_THAT(*scanner.Page("test", patterns, cursor, Soon()), ElementsAre("b1"));
  EXPECT_EQ(cursor, "0");
}

TEST(ScannerTest, AnotherPassDoesNotTakeThePageThatWasAskedForBefore) {
  const FakeServer server([&](int fd) {
    Greet(fd);
    Hear(fd);
    Answer(fd, "*2\r\n$2\r\n17\r\n*0\r\n");
    Hear(fd);
    Answer(fd, "*2\r\n$2\r\n23\r\n*1\r\n$3\r\nold\r\n");
    EXPECT_THAT(Hear(fd), HasSubstr("SCAN\r\n$1\r\n0\r\n"));
    Answer(fd, "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nnew\r\n");
    Drain(fd);
  });
  Scanner scanner = ScannerOf(server);
  const PatternSet all({"*"});
  std::string cursor = "0";
  EXPECT_THAT(*scanner.Page("test", all, cursor, Soon()), IsEmpty());
  cursor = "0";
  EXPECT_THAT(*scanner.Page("test", all, cursor, Soon()), ElementsAre("new"));
}

TEST(ScannerTest, AnIdleConnectionThatWasClosedIsMadeAnewForAPassAndNotWithinOne) {
  int connections = 0;
  const FakeServer server([&](int fd) {
    Greet(fd);
    Hear(fd);
    Answer(fd, ++connections < 2 ? "*2\r\n$1\r\n0\r\n*0\r\n" : "*2\r\n$2\r\n17\r\n*0\r\n");
  });
  Scanner scanner = ScannerOf(server);
  const PatternSet all({"*"});
  std::string cursor = "0";
  ASSERT_TRUE(scanner.Page("test", all, cursor, Soon()).ok());
  ASSERT_TRUE(scanner.Page("test", all, cursor, Soon()).ok());
  EXPECT_EQ(cursor, "17");
  // Another server may answer now, where the cursor says nothing.
  const auto page = scanner.Page("test", all, cursor, Soon());
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().native_code, kConnectionLost);
  EXPECT_EQ(cursor, "17");
}

}  // namespace
}  // namespace apex::redis
