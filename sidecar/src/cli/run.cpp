// `apex run`: wires the parts together and ends them in order.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/app.h"
#include "cli/cache.h"
#include "cli/commands.h"
#include "cli/history_verifier.h"
#include "cli/log.h"
#include "cli/stores.h"
#include "coordinator/replica.h"
#include "http/http_server.h"
#include "metrics/metrics.h"
#include "stores/postgres/admin.h"
#include "stores/postgres/ledger.h"
#include "stores/postgres/listener.h"

namespace apex::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kAdminTimeout{5};

/// Rows are allocated by the thread that reads them and freed by those of the stores, and buffers
/// of a few hundred kilobytes come and go with every batch. One arena spares the handing over
/// between many, and memory that is not given back at once need not be asked for again: a seventh
/// of the processor time, and of the memory too.
void SetUpAllocator() {
  constexpr int kKeptBytes = 32 << 20;
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, kKeptBytes);
  mallopt(M_TRIM_THRESHOLD, kKeptBytes);
}

/// Turns SIGTERM and SIGINT into a call, on a thread of its own. Blocks them for every thread
/// started after it was made.
class SignalWatcher {
 public:
  SignalWatcher() {
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals_);
    for (int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals_, number);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  ~SignalWatcher() {
    if (!thread_.joinable()) return;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  void Start(std::function<void()> on_stop) {
    thread_ = std::thread([this, on_stop = std::move(on_stop)] {
      int number = 0;
      sigwait(&signals_, &number);
      if (number == SIGUSR1) return;  // Only to end this thread.
      spdlog::info("{} received: finishing what is in flight",
                   number == SIGTERM ? "SIGTERM" : "SIGINT");
      on_stop();
      sigwait(&signals_, &number);
    });
  }

 private:
  sigset_t signals_;
  std::thread thread_;
};

std::vector<Store> AllStores(const std::map<Store, TargetStore*>& targets) {
  std::vector<Store> stores{Store::kPostgres};
  for (const auto& [store, target] : targets) stores.push_back(store);
  return stores;
}

/// What /api/v1/status says. PostgreSQL's part is missing while it cannot be asked; what the
/// process knows never is.
std::string StatusOf(const coordinator::Health& health, postgres::Admin& admin) {
  json status = {
      {"role", Name(health.role())}, {"epoch", health.epoch()}, {"stores", json::object()}};
  for (const auto& [store, state] : health.stores()) {
    status["stores"][std::string(Name(store))] = {{"up", state.up},
                                                  {"last_error", state.last_error}};
  }
  const Deadline deadline = Deadline::After(kAdminTimeout);
  const Result<std::string> pipelines = admin.Status(deadline);
  const Result<std::string> failed = pipelines.ok() ? admin.FailedSagas(deadline) : pipelines;
  if (failed.ok()) {
    status["pipelines"] = json::parse(*pipelines)["pipelines"];
    status["failed_sagas"] = json::parse(*failed);
  } else {
    status["error"] = Describe(failed.error());
  }
  return status.dump(-1, ' ', false, json::error_handler_t::replace);
}

http::Endpoints EndpointsOf(Metrics& metrics, const coordinator::Health& health,
                            postgres::Admin& admin, CacheService* cache) {
  http::Endpoints endpoints{
      .metrics =
          [&metrics, cache] {
            if (cache != nullptr) cache->UpdateMetrics();
            return metrics.Render();
          },
      .not_ready = [&health] { return health.NotReady(); },
      .status = [&health, &admin] { return StatusOf(health, admin); },
      .retry =
          [&admin](const std::string& saga) {
            return admin.Retry(saga, Deadline::After(kAdminTimeout));
          },
      .discard =
          [&admin](const std::string& saga) {
            return admin.Discard(saga, Deadline::After(kAdminTimeout));
          },
      .cached_row = {},
      .cache = {},
  };
  if (cache != nullptr) {
    endpoints.cached_row = [cache](const auto& entity, const auto& key) {
      return cache->Row(entity, key);
    };
    endpoints.cache = [cache] { return cache->Figures(); };
  }
  return endpoints;
}

}  // namespace

int Run(const config::Config& config) {
  SetUpAllocator();
  SignalWatcher
      signals;  // First of all: opening the stores starts threads, which must not take the signals.
  auto opened = Stores::Open(config);
  if (const auto* error = std::get_if<config::ConfigError>(&opened)) {
    std::cerr << "apex: " << error->message << "\n";
    return kUsage;
  }
  SetUpLog(config.log);
  const std::map<Store, TargetStore*> targets = std::get<Stores>(opened).targets();
  Metrics metrics;
  coordinator::Health health(AllStores(targets));
  postgres::Ledger ledger({config.postgres.dsn, config.postgres.password, config.engine.pipeline,
                           LeaderName(), config.engine.lease_ms});
  postgres::Listener listener({config.postgres.dsn, config.postgres.password});
  postgres::Admin admin(AdminOptionsFrom(config));
  const std::unique_ptr<CacheService> cache = CacheService::Open(config, metrics);
  auto server = http::HttpServer::Start(config.http.listen, config.http.token,
                                        EndpointsOf(metrics, health, admin, cache.get()));
  if (const auto* error = std::get_if<http::ListenError>(&server)) {
    std::cerr << "apex: " << error->message << "\n";
    return kUsage;
  }
  spdlog::info("serving http on port {}",
               std::get<std::unique_ptr<http::HttpServer>>(server)->port());
  coordinator::Replica replica(ReplicaOptionsFrom(config), ledger, listener, targets, metrics,
                               health);

  HistoryVerifier history_verifier(config, health);
  signals.Start([&replica, &history_verifier] {
    replica.Stop();
    history_verifier.Stop();
  });
  const std::string failure = replica.Run();
  if (!failure.empty()) {
    std::cerr << "apex: " << failure << "\n";
    return kUsage;
  }
  spdlog::info("stopped");
  return kSuccess;
}

}  // namespace apex::cli
