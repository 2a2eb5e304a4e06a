#include "coordinator/backfiller.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace apex::coordinator {

Backfiller::Backfiller(Step step, std::function<void()> done)
    : step_(std::move(step)), done_(std::move(done)) {}

Backfiller::Clock::time_point Backfiller::Advance(Clock::time_point now, const Progress& progress) {
  if (std::exchange(batches_, progress.batches) != progress.batches) sent_ = 0;
  // Whoever waits for a step or for the stores is woken by them.
  if (running_) return now + kBackfillInterval;
  if (const auto due = due_.load(); now < due) return due;
  if (progress.unsettled_changes + sent_ > kBackfillUnsettledMax) return now + kBackfillInterval;
  running_ = true;
  thread_.Post([this, now] { TakeStep(now); });
  return now + kBackfillInterval;
}

void Backfiller::TakeStep(Clock::time_point started_at) {
  const Result<std::optional<BackfillStep>> step = step_(kBackfillRowsMax);
  std::chrono::milliseconds wait = kBackfillInterval;
  if (!step.ok()) {
    spdlog::warn("backfill: {}", Describe(step.error()));
  } else if (*step) {
    wait = std::min((**step).wait, kBackfillInterval);
    sent_ += (**step).rows_sent;
  }
  due_ = started_at + wait;
  running_ = false;
  done_();
}

}  // namespace apex::coordinator
