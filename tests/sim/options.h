// What a run is told, and what it found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace apex::sim {

/// A rule of the stores or of PostgreSQL left out on purpose, to show that the checker notices.
enum class Flaw {
  kNone,
  kNoVersionGuard,         ///< Qdrant and Redis take any version.
  kWindowInPieces,         ///< The recovery window comes in ordinary pieces, not as one.
  kUndoOfOneVersion,       ///< Undo looks for failed_seq alone.
  kParkedEventsReadAgain,  ///< Events that a recorded failure of their row covers are handed out
                           ///< again.
  kParkedImageAlwaysHandedOn,  ///< FailureRecord::Row::carried_forward is ignored.
};

struct SimOptions {
  uint64_t seed = 1;
  Flaw flaw = Flaw::kNone;
};

/// Breaches of the guarantees, in words.
class Violations {
 public:
  void Add(std::string what) {
    if (found_.size() < kFoundMax) found_.push_back(std::move(what));
  }
  const std::vector<std::string>& found() const { return found_; }

 private:
  static constexpr size_t kFoundMax = 10;
  std::vector<std::string> found_;
};

/// How much of the machine a run has seen, so that a test can tell a dull simulation from a good
/// one.
struct SimCounts {
  int64_t transactions = 0;
  int64_t crashes = 0;
  int64_t failures_recorded = 0;
  int64_t superseded = 0;
  int64_t compensation_failed = 0;
  int64_t late_requests = 0;
  int64_t writes = 0;
};

struct SimReport {
  std::vector<std::string> violations;
  SimCounts counts;
};

SimReport Simulate(const SimOptions& options);

}  // namespace apex::sim
