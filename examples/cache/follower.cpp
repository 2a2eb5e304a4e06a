// Keeps rows in the process: follower HOST PORT STREAM. Reads an id a line from standard input and
// answers what it holds, loading it from Redis' key doc:ID where it holds nothing.
#include <iostream>

#include "local_cache.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: follower HOST PORT STREAM\n";
    return 1;
  }
  const int port = std::stoi(argv[2]);
  const std::unique_ptr<redisContext, void (*)(redisContext*)> redis(redisConnect(argv[1], port),
                                                                     redisFree);
  apex_cache::LocalCache local(argv[1], port, argv[3]);
  for (std::string id; std::getline(std::cin, id);) {
    bool loaded = false;
    const auto value = local.Get(id, [&]() -> std::optional<std::string> {
      loaded = true;
      const std::unique_ptr<redisReply, void (*)(void*)> reply(
          static_cast<redisReply*>(redisCommand(redis.get(), "GET doc:%s", id.c_str())),
          freeReplyObject);
      if (!reply || reply->type != REDIS_REPLY_STRING) return std::nullopt;
      return std::string(reply->str, reply->len);
    });
    std::cout << value.value_or("none") << (loaded ? " (loaded)" : "") << std::endl;
  }
  return 0;
}
