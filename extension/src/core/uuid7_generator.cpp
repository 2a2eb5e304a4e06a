#include "core/uuid7_generator.h"

namespace apex {
namespace {

constexpr std::uint64_t kNanosecondsPerMs = 1'000'000;
constexpr std::uint64_t kStepMask = (std::uint64_t{1} << 48) - 1;

std::uint64_t TickOfUnixNanoseconds(std::int64_t unix_ns) {
  const auto ns = static_cast<std::uint64_t>(unix_ns < 0 ? 0 : unix_ns);
  return (ns / kNanosecondsPerMs) << kTickFractionBits |
         (ns % kNanosecondsPerMs) * kTickFractions / kNanosecondsPerMs;
}

}  // namespace

std::optional<std::uint64_t> RandomPool::Take(std::int64_t process_id) {
  if (words_left_ == 0 || process_id_ != process_id) {
    if (!Refill(process_id)) return std::nullopt;
  }
  std::uint64_t& word = words_[--words_left_];
  const std::uint64_t taken = word;
  word = 0;
  return taken;
}

bool RandomPool::Refill(std::int64_t process_id) {
  words_left_ = 0;
  if (!fill_(words_.data(), sizeof(words_))) return false;
  process_id_ = process_id;
  words_left_ = kWords;
  return true;
}

std::optional<Uuid> Uuid7Generator::Next(std::int64_t unix_ns, std::int64_t process_id) {
  const std::optional<std::uint64_t> random = pool_.Take(process_id);
  if (!random) return std::nullopt;
  if (process_id_ != process_id) {
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

std::optional<Uuid> Uuid7Generator::At(std::uint64_t tick, std::int64_t process_id) {
  const std::optional<std::uint64_t> random = pool_.Take(process_id);
  if (!random) return std::nullopt;
  return MakeUuid7(tick, *random & kUuid7TailMax);
}

}  // namespace apex
