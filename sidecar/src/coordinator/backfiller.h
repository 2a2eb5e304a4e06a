// Takes the steps of a pipeline's backfills, one at a time, when they are due and the stores keep
// up.
//
// Used by the dispatcher's thread; a step runs on a thread of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "coordinator/executor.h"
#include "core/deadline.h"
#include "core/ledger.h"
#include "core/result.h"

namespace apex::coordinator {

/// Rows of one step: few enough that a writer who meets a row of it hardly notices.
inline constexpr int64_t kBackfillRowsMax = 500;
/// No step is taken while more changes than this are on their way to the stores, those of earlier
/// steps that the engine has not come to among them.
inline constexpr int64_t kBackfillUnsettledMax = 4000;
/// How often it is looked whether there is a backfill, and how long one that failed rests.
inline constexpr std::chrono::milliseconds kBackfillInterval{1000};

class Backfiller {
 public:
  using Clock = Deadline::Clock;
  /// How far the engine is.
  struct Progress {
    int64_t unsettled_changes = 0;  ///< Of those that it has read.
    int64_t batches = 0;            ///< How many it has opened.
  };
  using Step = std::function<Result<std::optional<BackfillStep>>(int64_t rows_max)>;

  /// `step` is called on this object's thread, `done` there after each.
  Backfiller(Step step, std::function<void()> done);

  /// Starts a step when it is time; never waits. Returns when it wants to be called again at the
  /// latest.
  Clock::time_point Advance(Clock::time_point now, const Progress& progress);

 private:
  void TakeStep(Clock::time_point started_at);

  Step step_;
  std::function<void()> done_;
  std::atomic<int64_t> sent_{0};  ///< Rows, since a batch was opened.
  int64_t batches_ = 0;
  std::atomic<bool> running_{false};
  std::atomic<Clock::time_point> due_{Clock::time_point::min()};  ///< Set while a step runs.
  Executor thread_;                                               ///< Last: its jobs use the rest.
};

}  // namespace apex::coordinator
