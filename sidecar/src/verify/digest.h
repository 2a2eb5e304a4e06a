// Digests of rows over ranges of the key's hash: two sides are equal where their digests are, in
// whatever order either was read.
//
// A digest is a sum over its rows, so that it takes no memory to read a million of them.
// Directions, which a store may have changed in their last bits, are summed as numbers beside it
// and compared with a tolerance. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/stored_row.h"

namespace apex::verify {

inline constexpr size_t kRanges = 1 << 16;

size_t RangeOf(std::string_view name);

struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;
  int64_t directions = 0;  ///< Sum of a projection of each, in fixed point.
  uint32_t rows = 0;

  void Add(const Digest& other);
  /// Whether the same rows were added to both, as far as a sum of hashes can tell.
  bool Equals(const Digest& other) const;
};

/// `newest_version`: a row without a version, or with a higher one, is unlike any that is expected.
Digest DigestOf(const StoredRow& row, int64_t newest_version);

class RangeDigests {
 public:
  RangeDigests() : ranges_(kRanges) {}

  void Add(const StoredRow& row, int64_t newest_version) {
    ranges_[RangeOf(row.name)].Add(DigestOf(row, newest_version));
  }
  const Digest& operator[](size_t range) const { return ranges_[range]; }

 private:
  std::vector<Digest> ranges_;
};

}  // namespace apex::verify
