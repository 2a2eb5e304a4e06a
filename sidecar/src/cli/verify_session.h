// All that comparing the pipeline's tables with the stores needs, opened: what `apex verify`, `apex
// repair` and the leader after another history share. Used by one thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/stores.h"
#include "cli/verify_rows.h"
#include "config/config.h"
#include "stores/postgres/admin.h"
#include "verify/repairer.h"
#include "verify/verifier.h"

namespace apex::cli {

/// Why there is no session.
using VerifyRefusal = std::variant<config::ConfigError, StoreError>;

class VerifySession {
 public:
  /// `tables`: those, or with none all of the pipeline. `stop`: set by another thread, ends what
  /// runs with an error.
  static std::variant<std::unique_ptr<VerifySession>, VerifyRefusal> Open(
      const config::Config& config, const std::vector<std::string>& tables,
      const std::atomic<bool>* stop = nullptr);

  /// When all tables of the pipeline are equal, that is noted for the history that began last.
  Result<std::vector<verify::TableReport>> VerifyAll();
  /// Mends one table as far as it can.
  Status Mend(const verify::TableReport& report);
  Status AwaitArrival() { return rows_.WaitSynced(); }

 private:
  VerifySession(const config::Config& config, std::vector<std::unique_ptr<StoreReader>> readers,
                Stores stores, const std::atomic<bool>* stop);

  std::optional<VerifyRefusal> FindMappings(const std::vector<std::string>& tables);
  std::optional<VerifyRefusal> CheckStores() const;

  std::string pipeline_;
  bool whole_pipeline_ = false;
  postgres::Admin admin_;
  PostgresRows rows_;
  std::vector<std::unique_ptr<StoreReader>> readers_;
  Stores stores_;
  verify::Verifier verifier_;
  std::vector<MappingPtr> mappings_;
};

}  // namespace apex::cli
