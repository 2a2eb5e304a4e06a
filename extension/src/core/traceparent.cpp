#include "core/traceparent.h"

#include <algorithm>
#include <cstddef>

namespace apex {
namespace {

// 00-<trace id: 32>-<parent id: 16>-<flags: 2>
constexpr std::size_t kVersion00Length = 55;
constexpr std::size_t kLengthMax = 255;
constexpr std::size_t kTraceIdAt = 3;
constexpr std::size_t kTraceIdLength = 32;
constexpr std::size_t kParentIdAt = 36;
constexpr std::size_t kParentIdLength = 16;
constexpr std::size_t kFlagsAt = 53;

bool IsLowerHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool IsAllZero(std::string_view text) {
  return text.find_first_not_of('0') == std::string_view::npos;
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '!' && c <= '~'; });
}

}  // namespace

bool IsTraceparent(std::string_view text) {
  if (text.size() < kVersion00Length || text.size() > kLengthMax) return false;
  if (text[2] != '-' || text[kParentIdAt - 1] != '-' || text[kFlagsAt - 1] != '-') return false;

  const std::string_view version = text.substr(0, 2);
  const std::string_view trace_id = text.substr(kTraceIdAt, kTraceIdLength);
  const std::string_view parent_id = text.substr(kParentIdAt, kParentIdLength);
  if (!IsLowerHex(version) || !IsLowerHex(trace_id) || !IsLowerHex(parent_id) ||
      !IsLowerHex(text.substr(kFlagsAt, 2))) {
    return false;
  }
  if (version == "ff" || IsAllZero(trace_id) || IsAllZero(parent_id)) return false;

  const std::string_view rest = text.substr(kVersion00Length);
  if (rest.empty()) return true;
  return version != "00" && rest.front() == '-' && IsPrintable(rest);
}

}  // namespace apex
