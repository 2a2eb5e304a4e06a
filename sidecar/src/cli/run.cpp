// `apex run`: wires the parts together and ends them in order.
#include <pthread.h>
#include <signal.h>

#include <iostream>
#include <thread>

#include <spdlog/spdlog.h>

#include "cli/app.h"
#include "cli/commands.h"
#include "cli/log.h"
#include "cli/stores.h"
#include "coordinator/replica.h"
#include "metrics/metrics.h"
#include "stores/postgres/ledger.h"
#include "stores/postgres/listener.h"

namespace apex::cli {
namespace {

/// Turns SIGTERM and SIGINT into a call, on a thread of its own. Blocks them for every thread started after it was made.
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
      spdlog::info("{} received: finishing what is in flight", number == SIGTERM ? "SIGTERM" : "SIGINT");
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

}  // namespace

int Run(const config::Config& config) {
  auto opened = Stores::Open(config);
  if (const auto* error = std::get_if<config::ConfigError>(&opened)) {
    std::cerr << "apex: " << error->message << "\n";
    return kUsage;
  }
  SetUpLog(config.log);
  SignalWatcher signals;
  const std::map<Store, TargetStore*> targets = std::get<Stores>(opened).targets();
  Metrics metrics;
  coordinator::Health health(AllStores(targets));
  postgres::Ledger ledger({config.postgres.dsn, config.postgres.password, config.engine.pipeline, LeaderName(),
                           config.engine.lease_ms});
  postgres::Listener listener({config.postgres.dsn, config.postgres.password});
  coordinator::Replica replica(ReplicaOptionsFrom(config), ledger, listener, targets, metrics, health);

  signals.Start([&replica] { replica.Stop(); });
  const std::string failure = replica.Run();
  if (!failure.empty()) {
    std::cerr << "apex: " << failure << "\n";
    return kUsage;
  }
  spdlog::info("stopped");
  return kSuccess;
}

}  // namespace apex::cli
