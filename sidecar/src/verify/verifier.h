// Compares every row of a table with what each store holds of it (guarantee G7).
//
// Both sides are read once from end to end into digests over ranges of the keys. Only ranges that
// differ are read again row by row, as many at a time as fit into memory; and what differs there is
// looked at once more, row by row, after everything committed has reached the stores. What is being
// written all the while is never called a difference.
//
// Not thread-safe. Changes nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stored_row.h"
#include "verify/compare.h"
#include "verify/digest.h"
#include "verify/row_source.h"

namespace apex::verify {

/// Differences of a table in one store that are named; beyond them they are counted.
inline constexpr size_t kDifferencesMax = 10000;
/// Rows of one side that are in memory at a time.
inline constexpr size_t kRowsInMemoryMax = 200000;
/// Stubs of a table that are listed.
inline constexpr size_t kStubsMax = 1000;

struct StoreReport {
  Store store = Store::kNeo4j;
  int64_t rows_expected = 0;
  int64_t rows_held = 0;
  std::vector<Difference> differences;
  int64_t not_looked_at = 0;  ///< Further rows that seemed to differ.
  int64_t busy = 0;           ///< Rows that were written at every look.
  std::vector<std::string> stubs;
};

struct TableReport {
  MappingPtr mapping;
  int64_t rows = 0;
  std::vector<StoreReport> stores;
  std::set<std::string> parked;          ///< Keys of rows that belong to a failed saga.
  std::vector<std::string> unencodable;  ///< Rows that no event can hold, with the reason.

  /// No store differs, as far as rows are not parked.
  bool equal() const;
};

class Verifier {
 public:
  /// `stop`: set by another thread, ends a comparison with an error.
  Verifier(RowSource& rows, std::vector<StoreReader*> readers,
           const std::atomic<bool>* stop = nullptr)
      : rows_(rows), readers_(std::move(readers)), stop_(stop) {}

  Result<TableReport> Verify(const MappingPtr& mapping);

 private:
  /// One store's part of a table.
  struct Side {
    StoreReader* reader = nullptr;
    StoreReport* report = nullptr;
    RangeDigests expected;
    RangeDigests held;
  };
  Status GoOn() const;
  Status ReadDigests(TableReport& report, std::vector<Side>& sides);
  Status CompareSide(const MappingPtr& mapping, Side& side, TableReport& report);
  /// The rows of these ranges that are not the same on both sides, by name and key.
  Result<std::vector<StoredRow>> CompareRanges(const MappingPtr& mapping, Side& side,
                                               const std::vector<bool>& ranges);
  Status LookAgain(const MappingPtr& mapping, Side& side, std::vector<StoredRow> candidates,
                   TableReport& report);
  /// What is left undecided because it was written meanwhile.
  Result<std::vector<StoredRow>> Look(const MappingPtr& mapping, Side& side,
                                      const std::vector<StoredRow>& candidates,
                                      TableReport& report);
  Status ForEachExpected(const MappingPtr& mapping, StoreReader& reader,
                         const std::function<void(StoredRow)>& visit);

  RowSource& rows_;
  std::vector<StoreReader*> readers_;
  const std::atomic<bool>* stop_;
  int64_t newest_version_ = 0;
};

}  // namespace apex::verify
