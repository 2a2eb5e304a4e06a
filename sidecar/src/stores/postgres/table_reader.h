// Rows of attached tables as their events would hold them, for `apex verify`: read in key order,
// page by page, and by key. Nothing is locked.
//
// Used by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/deadline.h"
#include "core/result.h"
#include "core/stored_row.h"
#include "stores/postgres/admin.h"
#include "stores/postgres/session.h"

namespace apex::postgres {

/// Where a walk through a table has come to.
struct TablePlace {
  std::optional<uint32_t> part;
  std::string key;
};

class TableReader {
 public:
  explicit TableReader(AdminOptions options);

  /// The rows behind `place`, which is moved to the last of them; none at the end.
  Result<std::vector<TableRow>> ReadPage(const MappingPtr& mapping, TablePlace& place,
                                         Deadline deadline);
  /// Those that are there of the rows with these keys.
  Result<std::vector<TableRow>> ReadThese(const MappingPtr& mapping,
                                          const std::vector<std::string>& keys, Deadline deadline);
  /// Keys of the mapping's rows that belong to a failed saga.
  Result<std::set<std::string>> ReadParked(const TableMapping& mapping, Deadline deadline);
  /// No version that any store holds can be higher.
  Result<int64_t> NewestVersion(Deadline deadline);
  /// Sends the rows of these keys as they are; returns the keys of those that somebody has locked.
  Result<std::vector<std::string>> Refresh(const TableMapping& mapping,
                                           const std::vector<std::string>& keys, Deadline deadline);

 private:
  Session session_;
};

}  // namespace apex::postgres
