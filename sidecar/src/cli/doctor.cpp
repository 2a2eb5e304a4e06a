// `apex doctor`: looks at everything the sidecar needs, in the order in which one thing needs
// another, and says in plain words what is wrong and what to do about it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/app.h"
#include "cli/cache.h"
#include "cli/commands.h"
#include "cli/stores.h"
#include "stores/redis/reply_reader.h"

namespace apex::cli {
namespace {

constexpr std::chrono::seconds kTimeout{5};

class Report {
 public:
  void Fine(const std::string& what) { std::cout << "  ok       " << what << "\n"; }
  void Advice(const std::string& what, const std::string& remedy) { Say("advice", what, remedy); }
  void Problem(const std::string& what, const std::string& remedy) {
    ++problems_;
    Say("PROBLEM", what, remedy);
  }
  int problems() const { return problems_; }

 private:
  static void Say(const char* kind, const std::string& what, const std::string& remedy) {
    std::cout << fmt::format("  {:<8} {}\n           -> {}\n", kind, what, remedy);
  }
  int problems_ = 0;
};

std::string RemedyForConnection(const StoreError& error) {
  const std::string& code = error.native_code;
  if (code == "28P01" || code == "28000") {
    return "check user and password in postgres.dsn (APEX_POSTGRES_DSN) and postgres.password, and "
           "the server's pg_hba.conf";
  }
  if (code == "3D000") return "check dbname in postgres.dsn (APEX_POSTGRES_DSN)";
  return "check host and port in postgres.dsn (APEX_POSTGRES_DSN), and that the server runs and "
         "can be reached from here";
}

/// False when nothing further can be looked at.
bool ExaminePostgres(const postgres::Facts& facts, Report& report) {
  report.Fine(fmt::format("PostgreSQL {} answers; database {}, role {}", facts.server_version,
                          facts.database, facts.role));
  if (facts.is_standby) {
    report.Problem("this server is a standby, which takes no writes",
                   "point postgres.dsn at the primary");
  }
  if (facts.is_pooled) {
    report.Problem(
        "a transaction pooler stands between here and PostgreSQL: notifications would be lost",
        "connect to PostgreSQL itself");
  }
  if (facts.extension_version.empty()) {
    if (facts.available_version.empty()) {
      report.Problem(
          "the extension apex_saga is not installed on the server",
          "run `make install-extension` there, then CREATE EXTENSION apex_saga in this database");
    } else {
      report.Problem(
          fmt::format("the extension apex_saga is missing in database {}", facts.database),
          "run CREATE EXTENSION apex_saga as a superuser");
    }
    return false;
  }
  report.Fine(fmt::format("extension apex_saga {}", facts.extension_version));
  if (facts.is_preloaded) {
    report.Fine("the extension is preloaded: commits wake the sidecar");
  } else {
    report.Advice(
        "the extension is not preloaded: commits wake the sidecar if the server has shared memory "
        "to spare, else it polls",
        "add apex_saga to shared_preload_libraries and restart PostgreSQL");
  }
  if (!facts.can_read_outbox || !facts.can_lead || !facts.can_read_mappings) {
    report.Problem(
        fmt::format("role {} has no right on the outbox", facts.role),
        fmt::format("run SELECT apex.grant_sidecar('{}') as the extension's owner", facts.role));
    return false;
  }
  report.Fine(fmt::format("role {} may read the outbox and lead", facts.role));
  return true;
}

/// The store answered, and would not let this process in.
bool IsAboutLogin(const StoreError& error) {
  constexpr std::array<std::string_view, 5> kCodes{"NOAUTH", "WRONGPASS", "NOPERM",
                                                   "UNAUTHENTICATED", "PERMISSION_DENIED"};
  const std::string& code = error.native_code;
  return error.kind == ErrorKind::kPermanent || std::ranges::find(kCodes, code) != kCodes.end() ||
         code.find(".Security.") != std::string::npos;
}

std::string RemedyForStore(Store store, const StoreError& error) {
  const std::string name(Name(store));
  if (error.native_code == "apex.collection" || error.native_code == "apex.version" ||
      error.native_code == "apex.mapping") {
    return "until it is mended `apex run` holds the rows of this store";
  }
  if (IsAboutLogin(error)) {
    return fmt::format("check user, password or key of [{}] in the configuration", name);
  }
  return fmt::format(
      "check {}.uri (APEX_{}_URI), and that the server runs and can be reached from here", name,
      store == Store::kNeo4j    ? "NEO4J"
      : store == Store::kQdrant ? "QDRANT"
                                : "REDIS");
}

bool Needs(const TableMapping& mapping, Store store) {
  if (store == Store::kNeo4j) return mapping.node || mapping.edge;
  if (store == Store::kQdrant) return mapping.vector.has_value();
  return mapping.cache.has_value();
}

void ExamineStores(const Stores& stores, const std::vector<MappingPtr>& mappings, Report& report) {
  const std::map<Store, TargetStore*> targets = stores.targets();
  for (Store store : {Store::kNeo4j, Store::kQdrant, Store::kRedis}) {
    std::vector<MappingPtr> concerned;
    for (const MappingPtr& mapping : mappings) {
      if (Needs(*mapping, store)) concerned.push_back(mapping);
    }
    auto target = targets.find(store);
    if (target == targets.end()) {
      if (!concerned.empty()) {
        report.Problem(fmt::format("table {} is mapped to {}, which is not configured",
                                   concerned.front()->table, Name(store)),
                       fmt::format("set {}.uri, or detach the table", Name(store)));
      }
      continue;
    }
    if (Status status = target->second->Examine(concerned, Deadline::After(kTimeout));
        !status.ok()) {
      report.Problem(Describe(status.error()), RemedyForStore(store, status.error()));
    } else {
      report.Fine(fmt::format("{} answers and fits {} table{}", Name(store), concerned.size(),
                              concerned.size() == 1 ? "" : "s"));
      if (store == Store::kRedis && !redis::UnderstandsResp3()) {
        report.Fine(fmt::format("redis is spoken to in RESP2: this build's {} knows no RESP3",
                                redis::ReaderVersion()));
      }
    }
  }
}

/// What becomes of the cache when Redis's memory is full.
void ExamineCache(const config::Config& config, const std::vector<MappingPtr>& mappings,
                  Report& report) {
  if (!config.redis) return;
  const auto found = AskCache(*config.redis, Deadline::After(kTimeout));
  if (!found.ok()) return;  // It has been said already that Redis does not answer.
  if (found->keys_max > 0 && found->total_keys >= found->keys_max) {
    report.Advice(fmt::format("redis holds {} keys, and beyond {} the sidecar adds none: rows that "
                              "have no entry are read from PostgreSQL",
                              found->total_keys, found->keys_max),
                  "raise redis.keys_max, or let entries live shorter by the ttl of apex.cache");
  } else if (found->keys_max > 0) {
    report.Fine(fmt::format("redis holds {} keys, and the sidecar adds some up to {}",
                            found->total_keys, found->keys_max));
  }
  const std::string& policy = found->eviction_policy;
  const std::string uses =
      fmt::format("redis holds {} keys in {} bytes", found->total_keys, found->memory_usage_bytes);
  if (found->memory_limit_bytes == 0) {
    report.Advice(uses + " and has no limit: it grows until the machine has no memory left",
                  "set maxmemory there, and maxmemory-policy allkeys-lru");
    return;
  }
  const std::string of = fmt::format("{} of at most {}", uses, found->memory_limit_bytes);
  if (policy == "noeviction") {
    report.Advice(of + ", and evicts nothing: once it is full it refuses entries, and rows wait",
                  "set maxmemory-policy allkeys-lru there");
    return;
  }
  if (!policy.starts_with("volatile-")) {
    report.Fine(fmt::format("{}, then it evicts any keys ({})", of, policy));
    return;
  }
  const auto stays = std::ranges::find_if(mappings, [](const MappingPtr& mapping) {
    return mapping->cache && mapping->cache->mode == CacheMode::kWrite &&
           !mapping->cache->ttl_seconds && mapping->cache->ttl_column.empty();
  });
  if (stays == mappings.end()) {
    report.Fine(fmt::format("{}, then it evicts keys that have a time to live ({})", of, policy));
    return;
  }
  report.Advice(
      fmt::format("{}, then it evicts keys that have a time to live ({}), and never entries of {}",
                  of, policy, (*stays)->table),
      "give apex.cache a ttl, or set maxmemory-policy allkeys-lru there");
}

/// Empty when they cannot be read.
std::vector<MappingPtr> ExamineMappings(postgres::Admin& admin, const std::string& pipeline,
                                        Report& report) {
  Result<std::vector<TableMapping>> loaded = admin.LoadMappings(Deadline::After(kTimeout));
  if (!loaded.ok()) {
    report.Problem(Describe(loaded.error()),
                   "the sidecar and the extension may be of different versions");
    return {};
  }
  std::vector<MappingPtr> mappings;
  for (TableMapping& mapping : *loaded) {
    if (mapping.active && mapping.pipeline == pipeline)
      mappings.push_back(std::make_shared<TableMapping>(std::move(mapping)));
  }
  if (mappings.empty()) {
    report.Advice(fmt::format("no table is attached to pipeline {}", pipeline),
                  "SELECT apex.attach('your_table', graph => ...)");
  } else {
    report.Fine(fmt::format("{} table{} attached to pipeline {}", mappings.size(),
                            mappings.size() == 1 ? "" : "s", pipeline));
  }
  return mappings;
}

void ExamineHistory(postgres::Admin& admin, const std::string& pipeline, Report& report) {
  auto unverified = admin.FindUnverified(pipeline, Deadline::After(kTimeout));
  if (!unverified.ok() || !*unverified) return;
  report.Advice(fmt::format("PostgreSQL was restored or replaced, which was noticed at {}, and the "
                            "stores were not found equal since",
                            (**unverified).since),
                "run `apex verify` once its rows have been sent anew; `apex repair` mends what "
                "differs");
}

}  // namespace

int Doctor(const config::Config& config) {
  auto opened = Stores::Open(config);
  if (const auto* error = std::get_if<config::ConfigError>(&opened)) {
    std::cerr << "apex: " << error->message << "\n";
    return kUsage;
  }
  Report report;
  std::vector<MappingPtr> mappings;
  postgres::Admin admin(AdminOptionsFrom(config));
  Result<postgres::Facts> facts = admin.Examine(Deadline::After(kTimeout));
  if (!facts.ok()) {
    report.Problem(Describe(facts.error()), RemedyForConnection(facts.error()));
  } else if (ExaminePostgres(*facts, report)) {
    mappings = ExamineMappings(admin, config.engine.pipeline, report);
  }
  if (facts.ok()) ExamineHistory(admin, config.engine.pipeline, report);
  ExamineStores(std::get<Stores>(opened), mappings, report);
  ExamineCache(config, mappings, report);
  if (report.problems() == 0) {
    std::cout << "nothing is wrong\n";
    return kSuccess;
  }
  std::cout << fmt::format("{} problem{}\n", report.problems(), report.problems() == 1 ? "" : "s");
  return kFailure;
}

}  // namespace apex::cli
