// A UUID as RFC 9562 lays it out (sections 4 and 5), with the parts that time-ordered ones (version
// 7) carry. Pure values; thread-safe. Nothing here raises or allocates.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace apex {

using Uuid = std::array<std::uint8_t, 16>;

/// Version 7 counts milliseconds since 1970-01-01 00:00:00 UTC in 48 bits: up to 10889-08-02
/// 05:31:50.655 UTC.
inline constexpr std::int64_t kUuid7MsMax = (std::int64_t{1} << 48) - 1;

/// A tick is a millisecond and the 12 bit fraction of it that follows: the 60 bits of time that
/// order our ids.
inline constexpr int kTickFractionBits = 12;
inline constexpr std::uint64_t kTickFractions = std::uint64_t{1} << kTickFractionBits;

/// The low 62 bits behind the variant, `rand_b`.
inline constexpr std::uint64_t kUuid7TailMax = (std::uint64_t{1} << 62) - 1;

/// `tick` below 2^60 and `tail` up to kUuid7TailMax, put together with version and variant. Each
/// half is one store: the id is read back in one piece, and bytes written one by one would have to
/// settle first.
inline Uuid MakeUuid7(std::uint64_t tick, std::uint64_t tail) {
  constexpr std::uint64_t kVersion = std::uint64_t{7} << 12;
  constexpr std::uint64_t kVariant = std::uint64_t{0b10} << 62;
  const std::uint64_t ms = tick >> kTickFractionBits;
  std::uint64_t halves[2] = {ms << 16 | kVersion | (tick & (kTickFractions - 1)),
                             kVariant | (tail & kUuid7TailMax)};
  if constexpr (std::endian::native == std::endian::little) {
    for (std::uint64_t& half : halves) half = __builtin_bswap64(half);
  }
  Uuid uuid;
  std::memcpy(uuid.data(), halves, sizeof(halves));
  return uuid;
}

/// The tick of a microsecond of the Unix epoch, at most that of kUuid7MsMax and not negative. Keeps
/// the order.
std::uint64_t TickOfUnixMicroseconds(std::int64_t unix_us);

/// The version nibble of a UUID of RFC 9562's own variant; nothing for other variants (nil, max,
/// NCS, Microsoft).
std::optional<int> UuidVersion(const Uuid& uuid);

/// The millisecond a version 7 UUID was made at; nothing for every other UUID.
std::optional<std::int64_t> Uuid7UnixMs(const Uuid& uuid);

/// First and last UUID of the millisecond `unix_ms`. A millisecond that version 7 cannot hold gives
/// a bound that compares with all version 7 UUIDs as the time would: below 1970 the first or nil,
/// after 10889 max or the last.
Uuid Uuid7LowerBound(std::int64_t unix_ms);
Uuid Uuid7UpperBound(std::int64_t unix_ms);

/// Reads the forms that PostgreSQL's uuid type reads: 32 hexadecimal digits of either case, a
/// hyphen allowed after each group of four, braces allowed around all. Nothing for any other text.
std::optional<Uuid> ParseUuid(std::string_view text);

}  // namespace apex
