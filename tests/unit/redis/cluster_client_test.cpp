#include "stores/redis/cluster_client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <csignal>

#include "fake_server.h"
#include "stores/redis/error.h"
#include "stores/redis/reply_reader.h"

namespace apex::redis {
namespace {

using std::chrono::milliseconds;

/// A cluster of one server, which answers commands with keys as `answer` says.
class OneNode {
 public:
  explicit OneNode(std::function<std::string(int asked)> answer)
      : answer_(std::move(answer)), server_([this](int fd) { Serve(fd); }) {
    port_ = server_.port();
  }

  std::unique_ptr<ClusterClient> Connect() const {
    std::signal(SIGPIPE, SIG_IGN);
    return std::make_unique<ClusterClient>(
        Login{}, std::vector{net::Address{.host = "127.0.0.1", .port = server_.port()}});
  }
  int asked() const { return asked_; }

 private:
  void Serve(int fd) {
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      const std::string_view said(buffer, static_cast<size_t>(got));
      if (said.find("HELLO") != std::string_view::npos) {
        Answer(fd, "%1\r\n+proto\r\n:3\r\n");
      } else if (said.find("CLUSTER") != std::string_view::npos) {
        Answer(fd, fmt::format("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{}\r\n",
                               port_.load()));
      } else {
        Answer(fd, answer_(++asked_));
      }
    }
  }

  const std::function<std::string(int)> answer_;
  std::atomic<int> asked_ = 0;
  std::atomic<uint16_t> port_ = 0;
  FakeServer server_;
};

Commands ForTwoKeys() {
  Commands commands;
  commands.Add({"EVALSHA", "x", "2", "k", "{k}#lease"}, 3);
  return commands;
}

TEST(ClusterClientTest, AsksAgainWhileTheKeysOfACommandAreAtTwoServers) {
  const OneNode node([](int asked) {
    return asked < 20 ? "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
                      : "+done\r\n";
  });
  const auto client = node.Connect();
  const auto replies = client->Run("test", ForTwoKeys(), Deadline::After(milliseconds(60000)));
  ASSERT_TRUE(replies.ok()) << Describe(replies.error());
  EXPECT_EQ(replies->front().text, "done");
  EXPECT_EQ(node.asked(), 20);
}

TEST(ClusterClientTest, GivesUpAtTheDeadlineWhenTheSlotKeepsMoving) {
  const OneNode node([](int) { return "-TRYAGAIN Multiple keys request\r\n"; });
  const auto client = node.Connect();
  const auto started = std::chrono::steady_clock::now();
  const auto replies = client->Run("test", ForTwoKeys(), Deadline::After(milliseconds(300)));
  ASSERT_FALSE(replies.ok());
  EXPECT_EQ(replies.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(replies.error().native_code, "TRYAGAIN");
  EXPECT_GE(std::chrono::steady_clock::now() - started, milliseconds(200));
}

}  // namespace
}  // namespace apex::redis
