#include "coordinator/replica.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace apex::coordinator {
namespace {

// A standby looks this often, so that a late leader is replaced well within two seconds.
constexpr std::chrono::milliseconds kStandbyInterval{250};
constexpr std::chrono::milliseconds kRetryInterval{500};
// There may be as many failed sagas as somebody has let gather.
constexpr std::chrono::seconds kLoadPatience{60};

}  // namespace

Replica::Replica(ReplicaOptions options, postgres::Ledger& ledger, postgres::Listener& listener,
                 std::map<Store, TargetStore*> targets, Metrics& metrics, Health& health)
    : options_(std::move(options)),
      ledger_(ledger),
      listener_(listener),
      targets_(std::move(targets)),
      metrics_(metrics),
      health_(health) {}

std::string Replica::Run() {
  bool announced_standby = false;
  while (!stop_) {
    const auto asked_at = Deadline::Clock::now();
    Result<std::optional<Leadership>> won =
        ledger_.TryLead(Deadline::After(options_.dispatcher.store_timeout));
    if (!won.ok()) {
      const std::string why = Describe(won.error());
      metrics_.SetStoreUp(Store::kPostgres, false);
      if (health_.SetDown(Store::kPostgres, why)) spdlog::warn("{}", why);
      health_.SetRole(Role::kStandby);
      Pause(kRetryInterval);
      continue;
    }
    metrics_.SetStoreUp(Store::kPostgres, true);
    health_.SetUp(Store::kPostgres);
    if (!*won) {
      if (!std::exchange(announced_standby, true))
        spdlog::info("another process leads: standing by");
      health_.SetRole(Role::kStandby);
      Pause(kStandbyInterval);
      continue;
    }
    announced_standby = false;
    const Dispatcher::Outcome outcome = Lead(std::move(**won), asked_at);
    metrics_.SetLeader(false, 0);
    if (outcome.end == Dispatcher::End::kUnusable) return outcome.reason;
    if (outcome.end == Dispatcher::End::kLost) {
      spdlog::warn("no longer leading: {}", outcome.reason);
      health_.SetRole(Role::kStandby);
      Pause(kRetryInterval);
    } else if (!outcome.reason.empty()) {
      spdlog::warn("{}", outcome.reason);
    }
  }
  health_.SetRole(Role::kStopping);
  return "";
}

void Replica::Stop() {
  stop_ = true;
  const std::lock_guard lock(mutex_);
  if (dispatcher_) dispatcher_->Nudge();
  changed_.notify_all();
}

Dispatcher::Outcome Replica::Lead(Leadership leadership, Deadline::Clock::time_point granted_at) {
  const int64_t epoch = leadership.epoch;
  health_.SetRole(Role::kLeader, epoch);
  metrics_.SetLeader(true, epoch);
  spdlog::info("leading pipeline {} in epoch {}{}", options_.dispatcher.pipeline, epoch,
               leadership.another_history ? ", after PostgreSQL was restored or replaced" : "");
  Lease lease(
      granted_at, options_.lease, [this](Deadline deadline) { return ledger_.Heartbeat(deadline); },
      [this](const StoreError& error) {
        const std::lock_guard lock(mutex_);
        if (dispatcher_) dispatcher_->LeaseLost(error);
      });
  if (Status loaded = ledger_.Load(leadership, Deadline::After(kLoadPatience)); !loaded.ok())
    return {Dispatcher::End::kLost, Describe(loaded.error())};
  const Fence fence{.pipeline = options_.dispatcher.pipeline,
                    .epoch = epoch,
                    .database = leadership.system_identifier + "/" + leadership.database,
                    .confirm = [&lease](Deadline deadline) { return lease.Confirm(deadline); }};
  Dispatcher dispatcher(options_.dispatcher, ledger_, listener_, targets_, lease, fence, metrics_,
                        health_);
  {
    const std::lock_guard lock(mutex_);
    dispatcher_ = &dispatcher;
  }
  Dispatcher::Outcome outcome = dispatcher.Run(std::move(leadership), stop_);
  {
    const std::lock_guard lock(mutex_);
    dispatcher_ = nullptr;
  }
  return outcome;
}

void Replica::Pause(std::chrono::milliseconds span) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, span, [this] { return stop_.load(); });
}

}  // namespace apex::coordinator
