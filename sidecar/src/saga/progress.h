// How far the open snapshot batch has been settled, and when a checkpoint is worth writing.
//
// A change is settled when every store holds it, or when its saga has been parked. Not thread-safe:
// part of the engine's state.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "core/ledger.h"
#include "saga/group.h"

namespace apex::saga {

class Progress {
 public:
  void PieceRead(const Piece& piece);
  void Settled(const Change& change);

  /// The next checkpoint, or nothing when the last one still says it all.
  std::optional<CheckpointRequest> Next() const;
  /// `request` is durable.
  void Recorded(const CheckpointRequest& request);

  /// A whole batch has been read and its checkpoint has not closed it yet: no further piece may be
  /// read.
  bool batch_read() const { return batch_read_; }
  /// Every change of the open batch up to here has been read.
  int64_t read_through_seq() const { return through_; }
  int64_t unsettled() const { return unsettled_; }
  /// How many batches have been opened.
  int64_t batches() const { return batches_; }
  /// Changes that a successor would read again: the unsettled ones and every one read after the
  /// oldest of them.
  int64_t window() const { return static_cast<int64_t>(window_.size()); }
  /// Capture time of the oldest unsettled change, Unix microseconds.
  std::optional<int64_t> oldest_captured_at_us() const;

 private:
  struct Entry {
    int64_t seq = 0;
    int64_t captured_at_us = 0;
    bool settled = false;
  };

  std::deque<Entry>::iterator Place(int64_t seq);

  std::deque<Entry> window_;  ///< By seq; the first one is not settled.
  int64_t unsettled_ = 0;
  int64_t batches_ = 0;
  int64_t through_ = 0;
  int64_t recorded_ = 0;
  bool open_ = false;
  bool batch_read_ = false;
};

}  // namespace apex::saga
