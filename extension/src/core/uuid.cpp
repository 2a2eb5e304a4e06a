#include "core/uuid.h"

#include <cstddef>

namespace apex {
namespace {

constexpr int kVersion7 = 7;
constexpr std::uint8_t kVariantMask = 0xC0;
constexpr std::uint8_t kVariantRfc9562 = 0x80;
constexpr std::int64_t kMicrosecondsPerMs = 1000;

Uuid Filled(std::uint8_t byte) {
  Uuid uuid;
  uuid.fill(byte);
  return uuid;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::uint64_t TickOfUnixMicroseconds(std::int64_t unix_us) {
  const auto ms = static_cast<std::uint64_t>(unix_us / kMicrosecondsPerMs);
  const auto us = static_cast<std::uint64_t>(unix_us % kMicrosecondsPerMs);
  return (ms << kTickFractionBits) | (us * kTickFractions / kMicrosecondsPerMs);
}

std::optional<int> UuidVersion(const Uuid& uuid) {
  if ((uuid[8] & kVariantMask) != kVariantRfc9562) return std::nullopt;
  return uuid[6] >> 4;
}

std::optional<std::int64_t> Uuid7UnixMs(const Uuid& uuid) {
  if (UuidVersion(uuid) != kVersion7) return std::nullopt;
  std::int64_t ms = 0;
  for (std::size_t i = 0; i < 6; ++i) ms = (ms << 8) | uuid[i];
  return ms;
}

Uuid Uuid7LowerBound(std::int64_t unix_ms) {
  if (unix_ms > kUuid7MsMax) return Filled(0xFF);
  const std::int64_t clamped = unix_ms < 0 ? 0 : unix_ms;
  return MakeUuid7(static_cast<std::uint64_t>(clamped) << kTickFractionBits, 0);
}

Uuid Uuid7UpperBound(std::int64_t unix_ms) {
  if (unix_ms < 0) return Filled(0x00);
  const std::int64_t clamped = unix_ms > kUuid7MsMax ? kUuid7MsMax : unix_ms;
  return MakeUuid7(
      (static_cast<std::uint64_t>(clamped) << kTickFractionBits) | (kTickFractions - 1),
      kUuid7TailMax);
}

std::optional<Uuid> ParseUuid(std::string_view text) {
  if (text.size() >= 2 && text.front() == '{' && text.back() == '}') {
    text = text.substr(1, text.size() - 2);
  }
  Uuid uuid;
  std::size_t at = 0;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (text.size() - at < 2) return std::nullopt;
    const int high = HexDigit(text[at]);
    const int low = HexDigit(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    uuid[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
    const bool group_ends = i % 2 == 1 && i + 1 < uuid.size();
    if (group_ends && at < text.size() && text[at] == '-') ++at;
  }
  if (at != text.size()) return std::nullopt;
  return uuid;
}

}  // namespace apex
