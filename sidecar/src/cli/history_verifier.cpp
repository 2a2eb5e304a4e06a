#include "cli/history_verifier.h"

#include <spdlog/spdlog.h>

#include <memory>
#include <variant>
#include <vector>

#include "cli/stores.h"
#include "cli/verify_report.h"
#include "cli/verify_session.h"

namespace apex::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{1000};
constexpr std::chrono::seconds kTimeout{5};
/// Rows that are on their way are waited for, and a store that is down.
constexpr std::chrono::seconds kRetryInterval{30};

int64_t DifferencesOf(const verify::TableReport& report) {
  int64_t count = 0;
  for (const verify::StoreReport& store : report.stores)
    count += static_cast<int64_t>(store.differences.size()) + store.not_looked_at;
  return count;
}

std::string Describe(const VerifyRefusal& refusal) {
  if (const auto* error = std::get_if<StoreError>(&refusal)) return apex::Describe(*error);
  return std::get<config::ConfigError>(refusal).message;
}

}  // namespace

HistoryVerifier::HistoryVerifier(const config::Config& config, const coordinator::Health& health)
    : config_(config),
      health_(health),
      admin_(AdminOptionsFrom(config)),
      thread_([this] { Run(); }) {}

HistoryVerifier::~HistoryVerifier() {
  Stop();
  thread_.join();
}

void HistoryVerifier::Stop() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  stopped_.notify_all();
}

void HistoryVerifier::Run() {
  int64_t done_epoch = 0;
  while (!stop_) {
    const int64_t epoch = health_.epoch();
    if (health_.role() == coordinator::Role::kLeader && epoch != done_epoch && LookForHistory())
      done_epoch = epoch;
    Pause(kInterval);
  }
}

void HistoryVerifier::Pause(std::chrono::milliseconds span) {
  std::unique_lock lock(mutex_);
  stopped_.wait_for(lock, span, [this] { return stop_.load(); });
}

bool HistoryVerifier::LookForHistory() {
  // That PostgreSQL cannot be asked is said by those who cannot work without it.
  auto unverified = admin_.FindUnverified(config_.engine.pipeline, Deadline::After(kTimeout));
  if (!unverified.ok()) return false;
  if (!*unverified) return true;
  if ((**unverified).sending) return false;
  if (VerifyNow()) return true;
  Pause(kRetryInterval);
  return false;
}

bool HistoryVerifier::VerifyNow() {
  spdlog::info("every row was sent anew: comparing PostgreSQL with the stores");
  auto opened = VerifySession::Open(config_, {}, &stop_);
  if (const auto* refusal = std::get_if<VerifyRefusal>(&opened)) {
    spdlog::warn("cannot verify: {}", Describe(*refusal));
    return false;
  }
  auto reports = std::get<std::unique_ptr<VerifySession>>(opened)->VerifyAll();
  if (stop_) return false;
  if (!reports.ok()) {
    spdlog::warn("cannot verify yet: {}", apex::Describe(reports.error()));
    return false;
  }
  for (const verify::TableReport& report : *reports) {
    if (!report.equal()) {
      spdlog::error(
          "rows of {} that differ in the stores since PostgreSQL was restored or replaced: {}. "
          "`apex verify` names them, `apex repair` mends them",
          report.mapping->table, DifferencesOf(report));
    }
  }
  if (AllEqual(*reports)) spdlog::info("every store agrees with PostgreSQL");
  return true;
}

}  // namespace apex::cli
