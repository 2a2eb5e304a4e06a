#include "saga/batch_sizer.h"

#include <algorithm>

namespace apex::saga {
namespace {

// A quarter of the largest: that one's price is found out by getting there.
constexpr size_t kHalvingsAtFirst = 2;
// A row may cost this much more than in writes twice as large, for the sake of shorter ones.
constexpr double kDearer = 1.1;
// What the newest write weighs against those before it.
constexpr double kNewest = 0.4;
// What is known of a size that would be better but for its price fades with each write, so that it
// is tried again now and then.
constexpr double kStillTrue = 0.98;

}  // namespace

BatchSizer::BatchSizer(int64_t rows_max, Span target)
    : rows_max_(rows_max), target_(target), halvings_(kHalvingsAtFirst) {}

void BatchSizer::Written(int64_t rows, Span took) {
  if (rows < RowsAt(halvings_) - RowsAt(halvings_) / 4) return;
  const double row_cost_us = static_cast<double>(took.count()) / static_cast<double>(rows);
  double& known = row_cost_us_[halvings_];
  known = fresh_ ? row_cost_us : known + kNewest * (row_cost_us - known);
  fresh_ = false;

  const double span_us = known * static_cast<double>(RowsAt(halvings_));
  const auto target_us = static_cast<double>(target_.count());
  if (halvings_ > 0 && (span_us <= target_us / 2 || LargerMayBeCheaper())) {
    MoveTo(halvings_ - 1);
  } else if (halvings_ < kHalvingsMax && span_us > target_us) {
    if (!SmallerIsDearer()) return MoveTo(halvings_ + 1);
    row_cost_us_[halvings_ + 1] *= kStillTrue;
  }
}

void BatchSizer::TimedOut() {
  if (halvings_ < kHalvingsMax) MoveTo(halvings_ + 1);
}

int64_t BatchSizer::RowsAt(size_t halvings) const {
  return std::max<int64_t>(1, rows_max_ >> halvings);
}

/// By what is known of the larger size, or else of the smaller one.
bool BatchSizer::LargerMayBeCheaper() const {
  const double larger = row_cost_us_[halvings_ - 1];
  return larger > 0 ? row_cost_us_[halvings_] > kDearer * larger : SmallerIsDearer();
}

bool BatchSizer::SmallerIsDearer() const {
  return halvings_ < kHalvingsMax &&
         row_cost_us_[halvings_ + 1] > kDearer * row_cost_us_[halvings_];
}

void BatchSizer::MoveTo(size_t halvings) {
  halvings_ = halvings;
  fresh_ = true;
}

}  // namespace apex::saga
