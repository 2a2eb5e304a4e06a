// The commands, one function each. They print to standard output, problems to standard error, and
// return an ExitCode.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace apex::cli {

/// Until SIGTERM or SIGINT, which drain within engine.shutdown_ms.
int Run(const config::Config& config);
/// kSuccess when nothing is wrong.
int Doctor(const config::Config& config);
int ShowStatus(const config::Config& config, bool json);
/// What Redis says of itself as a cache.
int ShowCache(const config::Config& config, bool json);
int Retry(const config::Config& config, const std::string& saga);
/// kSuccess when every row is the same in PostgreSQL and in every store. `tables`: those, or with
/// none all of the pipeline.
int Verify(const config::Config& config, const std::vector<std::string>& tables, bool json);
/// Mends what Verify finds and verifies again; kSuccess when nothing is left. `dry_run`: only says
/// what it would do.
int Repair(const config::Config& config, const std::vector<std::string>& tables, bool dry_run);
/// Begins a backfill and shows how far it is until everything has arrived.
int Backfill(const config::Config& config, const std::string& table,
             std::optional<int64_t> rows_per_second);
struct WarmOptions {
  std::string table;
  std::optional<std::string> where;  ///< An SQL condition; none: the first rows in key order.
  int64_t limit = 10000;
  std::optional<int64_t> rows_per_second;
};
/// Puts rows into the cache and shows how far it is.
int Warm(const config::Config& config, const WarmOptions& options);
int Discard(const config::Config& config, const std::string& saga);

}  // namespace apex::cli
