// Which vector the points written last hold, so that a change of the payload alone need not bring
// the vector along.
//
// A row and its embedding are remembered as hashes beside the version they were written as, in a
// table of fixed size where a later row takes an earlier one's place. It may be out of date or
// wrong about a row: whoever acts on it asks the store for that very version, which no other row
// and no other embedding was ever written as. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/change.h"

namespace apex::qdrant {

/// A power of two; 1.5 MiB.
inline constexpr size_t kVectorsRemembered = 1 << 16;

class VectorMemory {
 public:
  VectorMemory() : entries_(kVectorsRemembered) {}

  /// The store has taken the row as this version with this vector.
  void Remember(const RowId& row, int64_t version, std::string_view embedding);

  /// The version that the row was last written as, if it was with this vector.
  std::optional<int64_t> VersionWith(const RowId& row, std::string_view embedding) const;

 private:
  struct Entry {
    uint64_t row = 0;
    uint64_t embedding = 0;
    int64_t version = 0;  ///< 0: nothing is remembered here.
  };

  std::vector<Entry> entries_;
};

}  // namespace apex::qdrant
