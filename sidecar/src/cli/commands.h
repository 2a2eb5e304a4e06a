// The commands, one function each. They print to standard output, problems to standard error, and
// return an ExitCode.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"

namespace apex::cli {

/// Until SIGTERM or SIGINT, which drain within engine.shutdown_ms.
int Run(const config::Config& config);
/// kSuccess when nothing is wrong.
int Doctor(const config::Config& config);
int ShowStatus(const config::Config& config, bool json);
int Retry(const config::Config& config, const std::string& saga);
/// Begins a backfill and shows how far it is until everything has arrived.
int Backfill(const config::Config& config, const std::string& table,
             std::optional<int64_t> rows_per_second);
int Discard(const config::Config& config, const std::string& saga);

}  // namespace apex::cli
