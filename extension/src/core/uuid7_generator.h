// Makes version 7 UUIDs that strictly increase, with random bits from a cryptographic source.
//
// Time comes first: 48 bits of milliseconds and, in `rand_a`, 12 bits of the fraction of the
// millisecond (RFC 9562 section 6.2, method 3; a tick is 244 ns). Behind it stand 62 random bits.
// While the clock does not move on, inside a tick or after it was set back, the 62 bits grow by a
// random amount instead (method 2), so ids keep rising and stay unpredictable. When they overflow,
// the time runs ahead of the clock by one tick and they are drawn anew, as the RFC allows; at 2^47
// a step on average that takes some 16,000 ids on one tick.
//
// One generator belongs to one process and thread. The process id is part of each call: a pool or a
// last id inherited by fork() is thrown away, never shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/uuid.h"

namespace apex {

/// Fills a buffer with bytes of a cryptographically secure generator; false when it cannot.
using FillRandom = bool (*)(void* buffer, std::size_t bytes);

/// A small stock of secure random bytes: asking the operating system or OpenSSL for eight at a time
/// is what makes other generators slow. A byte is erased when it is handed out, so a core dump
/// shows none of the past.
class RandomPool {
 public:
  constexpr explicit RandomPool(FillRandom fill) : fill_(fill) {}

  /// 64 fresh random bits for this process; nothing when the source fails.
  std::optional<std::uint64_t> Take(std::int64_t process_id);

 private:
  // 2 KB: asking OpenSSL costs a microsecond whatever the size, which is then 4 ns an id.
  static constexpr std::size_t kWords = 256;

  bool Refill(std::int64_t process_id);

  FillRandom fill_;
  std::int64_t process_id_ = 0;
  std::size_t words_left_ = 0;
  std::array<std::uint64_t, kWords> words_{};
};

class Uuid7Generator {
 public:
  constexpr explicit Uuid7Generator(FillRandom fill) : pool_(fill) {}

  /// The next UUID, greater than every one before it in this process. `unix_ns` is what the clock
  /// says; times before 1970 count as 1970. Nothing when the random source fails: the state is then
  /// as it was.
  std::optional<Uuid> Next(std::int64_t unix_ns, std::int64_t process_id);

  /// A UUID of a given tick with 62 random bits. It neither follows nor moves the order of Next().
  std::optional<Uuid> At(std::uint64_t tick, std::int64_t process_id);

 private:
  RandomPool pool_;
  std::int64_t process_id_ = 0;
  std::uint64_t last_tick_ = 0;
  std::uint64_t last_tail_ = 0;
};

}  // namespace apex
