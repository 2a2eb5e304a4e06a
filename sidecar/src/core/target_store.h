// What the dispatcher needs of Neo4j, Qdrant and Redis.
//
// A TargetStore is used by one thread. It connects when first used and again after a failure; it
// keeps no rows between calls. No call returns later than its deadline. Every write is idempotent:
// the same rows may be sent again after kUnknownOutcome, by this process or by its successor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/change.h"
#include "core/deadline.h"
#include "core/result.h"

namespace apex {

/// Who writes. A store that can check it refuses an older epoch with native_code kFenced.
struct Fence {
  std::string pipeline;
  int64_t epoch = 0;
  /// Tells the database from every other one: several may share a store.
  std::string database = {};
  /// Proves that the epoch leads at some moment after the call; otherwise the error is kFenced, or
  /// says why it cannot be known. Null: this writer does not lead, and claims nothing.
  std::function<Status(Deadline)> confirm = {};
};

class TargetStore {
 public:
  virtual ~TargetStore() = default;

  virtual Store store() const = 0;

  /// Makes what the mappings need (constraints, collections, payload indexes) and proves that the
  /// store takes writes. Also claims the fence for `fence.epoch`. Idempotent. A collection of
  /// another dimension is permanent and says both.
  virtual Status Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                         Deadline deadline) = 0;

  /// What Prepare would refuse, found out without changing anything.
  virtual Status Examine(std::span<const MappingPtr> /*mappings*/, Deadline deadline) {
    return Ping(deadline);
  }

  /// Success: the store holds each row at its seq or newer (a deleted row is gone unless it is
  /// newer there). Rows of one call are distinct. On kPermanent some rows may have been applied.
  /// Rows whose mapping does not name this store are skipped. None of them is a truncation.
  virtual Status Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) = 0;

  /// Takes away what the store holds of the mapping's table at versions below truncation.seq, or a
  /// bounded part of it. True: nothing of it is left; false: call again. What is newer, and what
  /// carries no version of ours where others may write, stays.
  virtual Result<bool> Truncate(const Fence& fence, const Change& truncation,
                                Deadline deadline) = 0;

  /// Success: no row holds a version above accepted_seq up to failed_seq any more, and none that
  /// was accepted is missing. A row of another version is left alone.
  virtual Status Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) = 0;

  /// How much of the last Write would have taken as long with fewer rows: no reason to send fewer.
  virtual std::chrono::microseconds FixedPart() const { return {}; }

  /// One cheap round trip.
  virtual Status Ping(Deadline deadline) = 0;
};

/// Redis has one thing more: a row's own entries, keys and tags go as soon as its change is read,
/// before the other stores are written.
class CacheStore : public TargetStore {
 public:
  virtual Status Evict(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) = 0;

  /// In a call that takes long `evictions` is called again and again, which may call Evict. Its
  /// error ends the call it was made in. Null: nothing is.
  void GiveWayTo(std::function<Status()> evictions) { evictions_ = std::move(evictions); }

 protected:
  Status GiveWay() const { return evictions_ ? evictions_() : Status(); }

 private:
  std::function<Status()> evictions_;
};

}  // namespace apex
