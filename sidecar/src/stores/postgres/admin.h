// What the commands other than `apex run` ask PostgreSQL. Used by one thread; needs no leadership.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/deadline.h"
#include "core/mapping.h"
#include "core/result.h"
#include "stores/postgres/session.h"

namespace apex::postgres {

struct AdminOptions {
  std::string dsn;
  std::string password;
};

/// What `apex doctor` looks at. Everything below extension_version is false when the extension is
/// missing.
struct Facts {
  std::string server_version;  ///< "15.4"
  std::string role;            ///< Who we are there.
  std::string database;
  bool is_standby = false;
  std::string extension_version;  ///< Empty: CREATE EXTENSION has not been run in this database.
  std::string available_version;  ///< Empty: the files are not installed on the server.
  bool is_preloaded = false;      ///< By shared_preload_libraries or session_preload_libraries.
  bool can_read_outbox = false;
  bool can_lead = false;
  bool can_read_mappings = false;
  /// Two statements were answered by different backends: a transaction pooler stands between, which
  /// loses notifications.
  bool is_pooled = false;
};

/// Another history began, and the stores have not been found equal since.
struct Unverified {
  std::string since;     ///< As Admin::NoteVerified takes it.
  bool sending = false;  ///< Rows are still being sent anew.
};

class Admin {
 public:
  explicit Admin(AdminOptions options);

  Result<Facts> Examine(Deadline deadline);
  /// Of every pipeline.
  Result<std::vector<TableMapping>> LoadMappings(Deadline deadline);

  /// apex.status() as JSON text.
  Result<std::string> Status(Deadline deadline);
  /// apex.failed_sagas as a JSON array of objects.
  Result<std::string> FailedSagas(Deadline deadline);
  /// Permanent with the server's words when there is no such saga.
  apex::Status Retry(const std::string& saga, Deadline deadline);
  apex::Status Discard(const std::string& saga, Deadline deadline);
  /// Begins a backfill, anew when one runs. The pipeline's leader carries it out.
  apex::Status StartBackfill(uint32_t relation, std::optional<int64_t> rows_per_second,
                             Deadline deadline);

  /// Of the pipeline's last leader.
  Result<int64_t> Epoch(const std::string& pipeline, Deadline deadline);
  /// Nothing when no history waits to be verified.
  Result<std::optional<Unverified>> FindUnverified(const std::string& pipeline, Deadline deadline);
  /// Every row was found equal. Does nothing when another history has begun meanwhile.
  apex::Status NoteVerified(const std::string& pipeline, const std::string& since,
                            Deadline deadline);
  /// A position behind everything committed so far, for WaitSynced.
  Result<std::string> Position(Deadline deadline);
  /// "synced", "parked" or, when that has not come about by the deadline, "timeout".
  Result<std::string> WaitSynced(const std::string& position, Deadline deadline);

 private:
  Result<std::string> Text(const char* operation, const char* sql, Deadline deadline);

  Session session_;
};

}  // namespace apex::postgres
