// Dates and times as the outbox writes them, turned into what Neo4j counts. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace apex::neo4j {

struct Moment {
  int64_t seconds = 0;  ///< Since 1970-01-01 00:00:00, proleptic Gregorian.
  int64_t nanoseconds = 0;

  bool operator==(const Moment&) const = default;
};

/// "2022-02-22", days since 1970-01-01. A year before 1 is counted astronomically ("0000" is 1 BC,
/// "-0043" is 44 BC), as the outbox does, or followed by " BC", as PostgreSQL prints it. Infinite
/// dates have no answer.
std::optional<int64_t> ParseDate(std::string_view text);

/// "2022-02-22T19:22:22.123456", with 'T' or a space. With `zoned` an offset ("Z", "+02", "+05:30")
/// must follow and is taken off, so that the moment is in UTC; without it none may.
std::optional<Moment> ParseTimestamp(std::string_view text, bool zoned);

}  // namespace apex::neo4j
