#include "cli/stores.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <utility>

#include "stores/neo4j/neo4j_reader.h"
#include "stores/neo4j/neo4j_store.h"
#include "stores/qdrant/qdrant_reader.h"
#include "stores/qdrant/qdrant_store.h"
#include "stores/redis/redis_reader.h"
#include "stores/redis/redis_store.h"

namespace apex::cli {

redis::RedisOptions RedisOptionsFrom(const config::Redis& config) {
  return {.uri = config.uri,
          .password = config.password,
          .key_prefix = config.key_prefix,
          .channel = config.channel,
          .stream = config.stream,
          .keys_max = config.keys_max,
          .sentinel_password = config.sentinel_password,
          .tls_ca_file = config.tls_ca_file,
          .tls_cert_file = config.tls_cert_file,
          .tls_key_file = config.tls_key_file};
}

std::variant<Stores, config::ConfigError> Stores::Open(const config::Config& config) {
  Stores stores;
  if (config.neo4j) {
    stores.owned_[Store::kNeo4j] = std::make_unique<neo4j::Neo4jStore>(neo4j::Options{
        config.neo4j->uri, config.neo4j->user, config.neo4j->password, config.neo4j->database});
  }
  if (config.qdrant) {
    stores.owned_[Store::kQdrant] = std::make_unique<qdrant::QdrantStore>(
        qdrant::QdrantOptions{config.qdrant->uri, config.qdrant->api_key});
  }
  if (config.redis) {
    auto opened = redis::RedisStore::Create(RedisOptionsFrom(*config.redis));
    if (!opened.ok())
      return config::ConfigError{"redis.uri (APEX_REDIS_URI): " + opened.error().message};
    stores.owned_[Store::kRedis] = std::move(*opened);
  }
  return stores;
}

std::variant<std::vector<std::unique_ptr<StoreReader>>, config::ConfigError> OpenReaders(
    const config::Config& config) {
  std::vector<std::unique_ptr<StoreReader>> readers;
  if (config.neo4j) {
    readers.push_back(std::make_unique<neo4j::Neo4jReader>(neo4j::Options{
        config.neo4j->uri, config.neo4j->user, config.neo4j->password, config.neo4j->database}));
  }
  if (config.qdrant) {
    readers.push_back(std::make_unique<qdrant::QdrantReader>(
        qdrant::ClientOptions{config.qdrant->uri, config.qdrant->api_key}));
  }
  if (config.redis) {
    auto opened = redis::RedisReader::Create(RedisOptionsFrom(*config.redis));
    if (!opened.ok())
      return config::ConfigError{"redis.uri (APEX_REDIS_URI): " + opened.error().message};
    readers.push_back(*std::move(opened));
  }
  return readers;
}

std::map<Store, TargetStore*> Stores::targets() const {
  std::map<Store, TargetStore*> targets;
  for (const auto& [store, target] : owned_) targets[store] = target.get();
  return targets;
}

std::string LeaderName() {
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return fmt::format("{}:{}/{:08x}", host, getpid(), std::random_device{}());
}

coordinator::ReplicaOptions ReplicaOptionsFrom(const config::Config& config) {
  using std::chrono::milliseconds;
  const config::Engine& engine = config.engine;
  coordinator::ReplicaOptions options;
  options.lease = milliseconds(engine.lease_ms);
  coordinator::DispatcherOptions& dispatcher = options.dispatcher;
  dispatcher.pipeline = engine.pipeline;
  dispatcher.store_timeout = milliseconds(engine.store_timeout_ms);
  dispatcher.poll = milliseconds(engine.poll_ms);
  dispatcher.shutdown = milliseconds(engine.shutdown_ms);
  saga::EngineOptions& rules = dispatcher.engine;
  if (config.neo4j) rules.targets.insert(Store::kNeo4j);
  if (config.qdrant) rules.targets.insert(Store::kQdrant);
  if (config.redis) rules.targets.insert(Store::kRedis);
  rules.batch_rows_max = engine.batch_rows_max;
  rules.batches_in_flight_max = engine.batches_in_flight_max;
  rules.piece_rows_max = engine.piece_rows_max;
  rules.pending_rows_max = engine.pending_rows_max;
  rules.backoff = {engine.backoff_initial_ms, engine.backoff_max_ms};
  rules.give_up_after = milliseconds(engine.give_up_after_ms);
  rules.seed = std::random_device{}();
  return options;
}

postgres::AdminOptions AdminOptionsFrom(const config::Config& config) {
  return {config.postgres.dsn, config.postgres.password};
}

}  // namespace apex::cli
