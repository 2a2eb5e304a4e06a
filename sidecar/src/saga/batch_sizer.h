// How many rows one write to a store should have, learned from how long its writes take.
//
// Sizes are the largest one and its halves. A write that takes longer than the target makes the
// next ones half as large, one that takes less than half of it twice as large. Rows must not get
// dearer by that: where each write has a fixed cost, as a store far away has, small ones waste it,
// and the size goes up again whatever a write takes. Not thread-safe: part of the engine's state.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace apex::saga {

class BatchSizer {
 public:
  using Span = std::chrono::microseconds;

  BatchSizer(int64_t rows_max, Span target);

  /// Of the next write.
  int64_t rows() const { return RowsAt(halvings_); }

  /// The store took `took` to write so many rows. Far fewer than asked for say nothing.
  void Written(int64_t rows, Span took);
  /// It did not answer in time.
  void TimedOut();

 private:
  static constexpr size_t kHalvingsMax = 5;

  int64_t RowsAt(size_t halvings) const;
  bool LargerMayBeCheaper() const;
  bool SmallerIsDearer() const;
  void MoveTo(size_t halvings);

  int64_t rows_max_;
  Span target_;
  size_t halvings_;
  bool fresh_ = true;  ///< Nothing has been written in this size since it was chosen.
  std::array<double, kHalvingsMax + 1> row_cost_us_{};  ///< What a row took lately; 0: not known.
};

}  // namespace apex::saga
