// Reads rows through the cache as a service does: reader HOST PORT DSN ID...
#include <libpq-fe.h>

#include <iostream>

#include "apex_cache.h"

namespace {

std::optional<std::string> ReadTitle(PGconn* postgres, const char* id) {
  const std::unique_ptr<PGresult, void (*)(PGresult*)> rows(
      PQexecParams(postgres, "SELECT title FROM documents WHERE id = $1", 1, nullptr, &id, nullptr,
                   nullptr, 0),
      PQclear);
  if (PQresultStatus(rows.get()) != PGRES_TUPLES_OK)
    throw std::runtime_error(PQerrorMessage(postgres));
  if (PQntuples(rows.get()) == 0) return std::nullopt;
  return PQgetvalue(rows.get(), 0, 0);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 5) throw std::runtime_error("usage: reader HOST PORT DSN ID...");
  const std::unique_ptr<redisContext, void (*)(redisContext*)> redis(
      redisConnect(argv[1], std::stoi(argv[2])), redisFree);
  if (!redis || redis->err != 0) throw std::runtime_error("Redis cannot be reached");
  const std::unique_ptr<PGconn, void (*)(PGconn*)> postgres(PQconnectdb(argv[3]), PQfinish);

  apex_cache::Cache cache(redis.get());
  for (int i = 4; i < argc; ++i) {
    const std::string key = std::string("doc:") + argv[i];
    bool read = false;
    const auto load = [&] {
      read = true;
      return ReadTitle(postgres.get(), argv[i]);
    };
    const std::optional<std::string> title = cache.Get(key, load, std::chrono::hours(1));
    std::cout << key << " " << title.value_or("none") << (read ? " (read)" : "") << "\n";
  }
  return 0;
} catch (const std::exception& problem) {
  std::cerr << problem.what() << "\n";
  return 1;
}
