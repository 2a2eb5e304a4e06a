// What verifying and repairing ask of PostgreSQL: an interface, so that their rules are tested
// without one.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/stored_row.h"

namespace apex::verify {

class RowSource {
 public:
  virtual ~RowSource() = default;

  /// Every row of the mapping's table, page by page.
  virtual Status ReadAll(const MappingPtr& mapping,
                         const std::function<Status(std::vector<TableRow>)>& page) = 0;
  virtual Result<std::vector<TableRow>> ReadThese(const MappingPtr& mapping,
                                                  const std::vector<std::string>& keys) = 0;
  virtual Result<std::set<std::string>> ReadParked(const MappingPtr& mapping) = 0;
  /// No version that any store holds can be higher.
  virtual Result<int64_t> NewestVersion() = 0;
  /// Waits until everything committed so far has arrived or is parked. An error when it has not in
  /// time.
  virtual Status WaitSynced() = 0;
  /// Sends the rows of these keys as they are, those that are not there as deletes.
  virtual Status Refresh(const MappingPtr& mapping, const std::vector<std::string>& keys) = 0;
};

}  // namespace apex::verify
