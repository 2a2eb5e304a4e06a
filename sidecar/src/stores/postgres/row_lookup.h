// Single rows for the cache: read as an event would hold them, by key.
//
// Thread-safe: every call borrows a session. No call returns later than its deadline.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/deadline.h"
#include "core/mapping.h"
#include "core/pool.h"
#include "core/result.h"
#include "stores/postgres/admin.h"
#include "stores/postgres/session.h"

namespace apex::postgres {

/// A row as it is now. Not older than any version up to `version`: whatever changes it later and
/// has a version below has not been read from the outbox yet.
struct FoundRow {
  std::optional<std::string> image;  ///< JSON object text; nullopt: there is no such row.
  std::string error;                 ///< Not empty: a value of the row has no form in an image.
  int64_t version = 0;
};

class RowLookup {
 public:
  explicit RowLookup(const AdminOptions& options);

  /// Of every pipeline.
  Result<std::vector<TableMapping>> LoadMappings(Deadline deadline);
  /// `key` is a JSON array as the outbox has it.
  Result<FoundRow> Find(const TableMapping& mapping, const std::string& key, Deadline deadline);

 private:
  Pool<Session> sessions_;
  Admin admin_;
  std::mutex admin_mutex_;
};

}  // namespace apex::postgres
