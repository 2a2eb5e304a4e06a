// Loads and measures the cache. Times are in milliseconds.
//   load http PORT PATH RATE SECONDS    reads at a pace, each request on a connection of its own
//   load redis PORT KEY RATE SECONDS    the same by GET on connections that stay
//   load redis PORT KEY RATE            the same from a line on standard input until its end
//   load scan PORT                      one pass of SCAN over all keys, as a client makes it alone
// In PATH and KEY, %d stands for a number below 1000. The first two print p50 and p99, from when a
// request was due to its last byte, and how many were answered; the last prints what it took.
#include <arpa/inet.h>
#include <hiredis.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int kThreads = 8;

struct Free {
  void operator()(redisContext* context) const { redisFree(context); }
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Context = std::unique_ptr<redisContext, Free>;
using Reply = std::unique_ptr<redisReply, Free>;

bool AskHttp(uint16_t port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  bool good = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
              send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
                  static_cast<ssize_t>(request.size());
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; good && (got = recv(fd, buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(got));
  close(fd);
  return answer.starts_with("HTTP/1.1 200");
}

std::string Numbered(std::string what, int number) {
  const size_t at = what.find("%d");
  return at == std::string::npos ? what : what.replace(at, 2, std::to_string(number));
}

/// Which requests count, by when they were due. Without an end they are made until there is one.
struct Span {
  std::atomic<Clock::time_point> begin;
  std::atomic<Clock::time_point> end;
};

void FollowInput(Span& span) {
  int c = std::getchar();
  span.begin = Clock::now();
  while (c != EOF) c = std::getchar();
  span.end = Clock::now();
}

int ReadAtAPace(const std::string& kind, int port, const std::string& what, double rate,
                std::optional<double> seconds) {
  std::vector<std::vector<double>> times(kThreads);
  std::vector<std::thread> readers;
  const auto start = Clock::now() + std::chrono::milliseconds(50);
  const auto after = [start](double later) {
    return start +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(later));
  };
  Span span{seconds ? start : Clock::time_point::max(),
            seconds ? after(*seconds) : Clock::time_point::max()};
  readers.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    readers.emplace_back([&, thread] {
      const Context redis(kind == "redis" ? redisConnect("127.0.0.1", port) : nullptr);
      for (int i = thread;; i += kThreads) {
        const auto due = after(i / rate);
        if (due >= span.end.load()) break;
        std::this_thread::sleep_until(due);
        const std::string one = Numbered(what, i * 7 % 1000);
        bool good = false;
        if (redis) {
          const Reply reply(
              static_cast<redisReply*>(redisCommand(redis.get(), "GET %s", one.c_str())));
          good = reply && reply->type != REDIS_REPLY_ERROR;
        } else {
          good = AskHttp(static_cast<uint16_t>(port), one);
        }
        if (good && due >= span.begin.load())
          times[static_cast<size_t>(thread)].push_back(Milliseconds(Clock::now() - due).count());
      }
    });
  }
  if (!seconds) FollowInput(span);
  for (std::thread& reader : readers) reader.join();
  std::vector<double> all;
  for (const auto& each : times) all.insert(all.end(), each.begin(), each.end());
  std::sort(all.begin(), all.end());
  const auto at = [&](double share) {
    return all.empty() ? 0.0
                       : all[static_cast<size_t>(share * static_cast<double>(all.size() - 1))];
  };
  std::printf("%.3f %.3f %zu\n", at(0.5), at(0.99), all.size());
  return 0;
}

int Scan(int port) {
  const Context redis(redisConnect("127.0.0.1", port));
  std::string cursor = "0";
  const auto start = Clock::now();
  do {
    const Reply page(static_cast<redisReply*>(
        redisCommand(redis.get(), "SCAN %s MATCH query:* COUNT 1000", cursor.c_str())));
    if (!page || page->type != REDIS_REPLY_ARRAY) return 1;
    cursor = page->element[0]->str;
  } while (cursor != "0");
  std::printf("%.1f\n", Milliseconds(Clock::now() - start).count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "scan") return Scan(std::atoi(argv[2]));
  if (argc == 5 || argc == 6) {
    return ReadAtAPace(argv[1], std::atoi(argv[2]), argv[3], std::atof(argv[4]),
                       argc == 6 ? std::optional(std::atof(argv[5])) : std::nullopt);
  }
  std::fprintf(stderr, "usage: load http|redis PORT WHAT RATE [SECONDS], load scan PORT\n");
  return 2;
}
