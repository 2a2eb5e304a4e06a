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

/// The tick of a nanosecond of the Unix epoch; times before 1970 count as 1970.
inline std::uint64_t TickOfUnixNanoseconds(std::int64_t unix_ns) {
  constexpr std::uint64_t kNanosecondsPerMs = 1'000'000;
  const auto ns = static_cast<std::uint64_t>(unix_ns < 0 ? 0 : unix_ns);
  return (ns / kNanosecondsPerMs) << kTickFractionBits |
         (ns % kNanosecondsPerMs) * kTickFractions / kNanosecondsPerMs;
}

/// Fills a buffer with bytes of a cryptographically secure generator; false when it cannot.
using FillRandom = bool (*)(void* buffer, std::size_t bytes);

/// A small stock of secure random bytes: asking the operating system or OpenSSL for eight at a time
/// is what makes other generators slow. A byte is erased when it is handed out, so a core dump
/// shows none of the past.
class RandomPool {
 public:
  constexpr explicit RandomPool(FillRandom fill) : fill_(fill) {}

  /// 64 fresh random bits for this process; nothing when the source fails.
  std::optional<std::uint64_t> Take(std::int64_t process_id) {
    if (words_left_ == 0 || process_id_ != process_id) [[unlikely]] {
      if (!Refill(process_id)) return std::nullopt;
    }
    std::uint64_t& word = words_[--words_left_];
    const std::uint64_t taken = word;
    word = 0;
    return taken;
  }

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

// Here and not in the .cpp: the call of uuid7() is all that these few instructions are for.
inline std::optional<Uuid> Uuid7Generator::Next(std::int64_t unix_ns, std::int64_t process_id) {
  constexpr std::uint64_t kStepMask = (std::uint64_t{1} << 48) - 1;
  const std::optional<std::uint64_t> random = pool_.Take(process_id);
  if (!random) [[unlikely]]
    return std::nullopt;
  if (process_id_ != process_id) [[unlikely]] {
    process_id_ = process_id;
    last_tick_ = 0;
    last_tail_ = 0;
  }

  std::uint64_t tick = TickOfUnixNanoseconds(unix_ns);
  std::uint64_t tail = *random & kUuid7TailMax;
  if (tick <= last_tick_) {
    tick = last_tick_;
    const std::uint64_t grown = last_tail_ + 1 + (*random & kStepMask);
    if (grown <= kUuid7TailMax) {
      tail = grown;
    } else {
      tick = last_tick_ + 1;
    }
  }
  last_tick_ = tick;
  last_tail_ = tail;
  return MakeUuid7(tick, tail);
}

}  // namespace apex
