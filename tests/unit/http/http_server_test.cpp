#include "http/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace apex::http {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Endpoints Answers() {
  return {.metrics = [] { return std::string("apex_leader 1\n"); },
          .not_ready = [] { return std::vector<std::string>{"redis: down"}; },
          .status = [] { return Result<std::string>(std::string("{}")); },
          .retry = [](const std::string&) { return Status(); },
          .discard = [](const std::string&) { return Status(); },
          .cached_row =
              [](const std::string& entity, const std::vector<std::string>& key) {
                return CachedRow{200, "HIT", entity + " " + key.front()};
              },
          .cache = [] { return Result<std::string>(std::string("{}")); }};
}

std::unique_ptr<HttpServer> Started(const std::string& listen) {
  auto started = HttpServer::Start(listen, "t", Answers());
  if (const auto* error = std::get_if<ListenError>(&started)) {
    ADD_FAILURE() << error->message;
    return nullptr;
  }
  return std::get<std::unique_ptr<HttpServer>>(std::move(started));
}

/// Sends `request` and returns the whole answer.
std::string Exchange(uint16_t port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(got));
  close(fd);
  return answer;
}

std::string Request(const std::string& line, const std::string& headers = "") {
  return line + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}

TEST(HttpServerTest, ServesOnAFreePortThatItTells) {
  const auto server = Started("127.0.0.1:0");
  ASSERT_TRUE(server);
  ASSERT_NE(server->port(), 0);
  const std::string answer = Exchange(server->port(), Request("GET /metrics?x=1"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 14\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\napex_leader 1\n"));
}

TEST(HttpServerTest, LeavesAnEndpointTheStackThatAThreadHas) {
  Endpoints deep = Answers();
  deep.metrics = [] {
    std::array<volatile char, 1 << 20> stack;
    for (size_t i = 0; i < stack.size(); i += 4096) stack[i] = 'x';
    return std::string(1, stack[0]);
  };
  auto started = HttpServer::Start("127.0.0.1:0", "t", std::move(deep));
  const auto* server = std::get_if<std::unique_ptr<HttpServer>>(&started);
  ASSERT_TRUE(server);
  EXPECT_THAT(Exchange((*server)->port(), Request("GET /metrics")), EndsWith("\r\n\r\nx"));
}

TEST(HttpServerTest, PassesStatusHeadersAndAuthorizationThrough) {
  const auto server = Started("localhost:0");
  ASSERT_TRUE(server);
  EXPECT_THAT(Exchange(server->port(), Request("GET /readyz")), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(Exchange(server->port(), Request("DELETE /")), HasSubstr("Allow: GET, HEAD\r\n"));
  const std::string retry = "POST /api/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/retry";
  EXPECT_THAT(Exchange(server->port(), Request(retry, "Content-Length: 0\r\n")),
              StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(
      Exchange(server->port(), Request(retry, "Content-Length: 0\r\nAuthorization: Bearer t\r\n")),
      StartsWith("HTTP/1.1 200 "));
}

TEST(HttpServerTest, AnswersHeadWithoutABody) {
  const auto server = Started("127.0.0.1:0");
  ASSERT_TRUE(server);
  const std::string answer = Exchange(server->port(), Request("HEAD /metrics"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 14\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(HttpServerTest, HandsARowsAddressOnAsItWasWritten) {
  const auto server = Started("127.0.0.1:0");
  ASSERT_TRUE(server);
  const std::string token = "Authorization: Bearer t\r\n";
  const std::string answer =
      Exchange(server->port(), Request("GET /api/v1/cache/page/a%2Fb?x=1", token));
  EXPECT_THAT(answer, EndsWith("\r\n\r\npage a/b"));
  const size_t tag = answer.find("ETag: ");
  const std::string known =
      "If-None-Match: " + answer.substr(tag + 6, answer.find('\r', tag) - tag - 6) + "\r\n";
  const std::string again =
      Exchange(server->port(), Request("GET /api/v1/cache/page/a%2Fb", token + known));
  EXPECT_THAT(again, StartsWith("HTTP/1.1 304 "));
  EXPECT_THAT(again, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(again, EndsWith("\r\n\r\n"));
}

TEST(HttpServerTest, AnswersSeveralClientsAtOnce) {
  const auto server = Started("127.0.0.1:0");
  ASSERT_TRUE(server);
  constexpr int kClients = 8;
  std::vector<std::thread> clients;
  clients.reserve(kClients);
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      for (int j = 0; j < 20; ++j)
        EXPECT_THAT(Exchange(server->port(), Request("GET /livez")), StartsWith("HTTP/1.1 200 "));
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST(HttpServerTest, SaysWhyItCannotListen) {
  const auto server = Started("127.0.0.1:0");
  ASSERT_TRUE(server);
  const std::string taken = "127.0.0.1:" + std::to_string(server->port());
  const auto second = HttpServer::Start(taken, "", Answers());
  ASSERT_TRUE(std::holds_alternative<ListenError>(second));
  EXPECT_THAT(std::get<ListenError>(second).message,
              HasSubstr("http.listen (APEX_HTTP_LISTEN): cannot listen on " + taken));
  EXPECT_THAT(std::get<ListenError>(second).message, Not(EndsWith(": ")));
}

TEST(HttpServerTest, StopsListeningWhenDestroyed) {
  auto server = Started("127.0.0.1:0");
  ASSERT_TRUE(server);
  const std::string listen = "127.0.0.1:" + std::to_string(server->port());
  server.reset();
  EXPECT_TRUE(Started(listen));
}

}  // namespace
}  // namespace apex::http
