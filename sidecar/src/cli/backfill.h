// Watching a backfill, for those who begin one.
#pragma once

#include <cstdint>
#include <optional>

#include "core/mapping.h"
#include "core/result.h"
#include "stores/postgres/admin.h"

namespace apex::cli {

/// Shows the progress until the leader has sent every row of `table`. How many they were, or
/// nothing when the table was detached meanwhile.
Result<std::optional<int64_t>> WatchBackfill(postgres::Admin& admin, const TableMapping& table);

/// Waits, for as long as it takes, until everything committed so far has arrived or is parked.
Status AwaitSynced(postgres::Admin& admin);

}  // namespace apex::cli
