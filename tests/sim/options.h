// What a run is told, and what it found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace apex::sim {

/// A rule left out on purpose, to show that the checker notices. The letter says which of the
/// design's rules it is.
enum class Flaw {
  kNone,
  kTwoBatchesOfOneRow,         ///< E1: a row may be in several batches at once.
  kOldestImageStandsForAll,    ///< E2: of coalesced changes the first one is written.
  kUpdatesAreDeltas,           ///< E3: an update of a row that the store does not hold is dropped.
  kUnknownIsDone,              ///< E4: an unknown outcome is taken for a success.
  kBlamedWithoutProbe,         ///< E4: the store is not asked before sagas are blamed.
  kNothingUndone,              ///< E5: a compensation is only said to have been carried out.
  kNotResumed,                 ///< E5: a new leader does not look for unfinished compensations.
  kUndoOfOneVersion,           ///< E5: undo looks for failed_seq alone.
  kParkedEventsReadAgain,      ///< E6: events that a recorded failure covers are handed out again.
  kParkedImageAlwaysHandedOn,  ///< E6: FailureRecord::Row::carried_forward is ignored.
  kNeverSuperseded,            ///< E6: a later change does not take its row out of the saga.
  kOldImageRefreshed,       ///< E7: a refresh reads the row before it draws the version, unlocked.
  kRevertOfAnything,        ///< E8: a revert does not look at what it takes back.
  kTruncationDoesNotWait,   ///< E9: a table is truncated while older changes of it are in flight.
  kTruncationTakesNewer,    ///< E9: what is newer than the truncation goes with the table.
  kTruncationLeavesParked,  ///< E9: rows of a truncated table stay parked.
  kTruncationNotReplayed,   ///< E9: the recovery window brings changes without their truncation.
  kWindowInPieces,          ///< E10: the recovery window comes in ordinary pieces, not as one.
  kAcknowledgementIsProof,  ///< E11: nobody counts what a store says it has done.
  kNoVersionGuard,          ///< Fence: Qdrant and Redis take any version.
  kNoEpochGuard,            ///< Fence: Neo4j and Redis take what any leader sends.
  kNoTurnGuard,             ///< Fence: the same two take a request after a later one of its leader.
  kNoLeaseCheck,            ///< Fence: a leader that was paused goes on writing.
  kRemovalsNotRepeated,     ///< Fence: what was removed while a late write could arrive.
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
  int64_t refreshes = 0;
  int64_t truncations = 0;
  int64_t crashes = 0;
  int64_t pauses = 0;
  int64_t woken_deposed = 0;  ///< Leaders that woke and found another one in their place.
  int64_t store_crashes = 0;
  int64_t ledger_failures = 0;  ///< Of PostgreSQL, for the leader that leads.
  int64_t failures_recorded = 0;
  int64_t superseded = 0;
  int64_t reverted = 0;
  int64_t compensation_failed = 0;
  int64_t doubts = 0;             ///< Times at which something given up could still land.
  int64_t late_requests = 0;      ///< Applied after their sender had given them up, or was dead.
  int64_t repeated_requests = 0;  ///< Applied twice in a row.
  int64_t short_answers = 0;      ///< Acknowledged and carried out in part.
  int64_t writes = 0;
  int64_t batches_read_ahead = 0;
  int64_t peeked = 0;  ///< Changes looked at while they could not be read.
};

struct SimReport {
  std::vector<std::string> violations;
  SimCounts counts;
};

SimReport Simulate(const SimOptions& options);

}  // namespace apex::sim
