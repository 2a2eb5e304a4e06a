// One row against another: what differs, in words. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/stored_row.h"

namespace apex::verify {

enum class Kind { kMissing, kStale, kExtra };

/// "missing", "stale", "extra".
std::string_view Name(Kind kind);

/// A row that a store holds otherwise than PostgreSQL.
struct Difference {
  Kind kind = Kind::kMissing;
  StoredRow held;                    ///< As the store holds it; of a missing row its name and key.
  std::vector<StoredRow> copies;     ///< All of them where there are several.
  bool is_ahead = false;             ///< Its version is higher than any that was given out.
  std::vector<std::string> details;  ///< "title is \"a\", should be \"b\""
};

/// Whether two embeddings are the same as far as the store keeps them.
bool SameVector(const StoredRow& expected, const StoredRow& held);

/// `expected`: nullopt where PostgreSQL has no such row, or one that the store is not to hold.
/// `held`: all that the store holds under the name. `newest_version`: no version can be higher.
/// `may_forget`: a missing row is no difference.
std::optional<Difference> Compare(const std::optional<StoredRow>& expected,
                                  const std::vector<StoredRow>& held, int64_t newest_version,
                                  bool may_forget);

}  // namespace apex::verify
