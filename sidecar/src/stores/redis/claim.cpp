#include "stores/redis/claim.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

namespace apex::redis {
namespace {

/// A name takes no spaces and nothing beyond ASCII, which a database's name may have.
uint64_t Hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ULL;
  return hash;
}

std::string Family(const Fence& fence) {
  return fmt::format("apex:{}:{:016x}:", fence.pipeline, Hash(fence.database));
}

/// "7:2": epoch and number.
std::optional<std::pair<int64_t, int64_t>> ParseClaim(std::string_view text) {
  std::pair<int64_t, int64_t> claim;
  const char* const end = text.data() + text.size();
  const auto [colon, bad_epoch] = std::from_chars(text.data(), end, claim.first);
  if (bad_epoch != std::errc() || colon == end || *colon != ':') return std::nullopt;
  const auto [rest, bad_number] = std::from_chars(colon + 1, end, claim.second);
  if (bad_number != std::errc() || rest != end) return std::nullopt;
  return claim;
}

/// The value of " name=" in a line of CLIENT LIST; no value has a space in it.
std::string_view Field(std::string_view line, std::string_view name) {
  while (!line.empty()) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string_view field = line.substr(0, space);
    if (field.starts_with(name)) return field.substr(name.size());
    line.remove_prefix(std::min(space + 1, line.size()));
  }
  return {};
}

}  // namespace

std::string ClaimName(const Fence& fence, int64_t number) {
  return fmt::format("{}{}:{}", Family(fence), fence.epoch, number);
}

std::vector<std::string> OlderClaims(std::string_view client_list, const Fence& fence,
                                     int64_t number) {
  const std::string family = Family(fence);
  std::vector<std::string> older;
  while (!client_list.empty()) {
    const size_t end = std::min(client_list.find('\n'), client_list.size());
    const std::string_view line = client_list.substr(0, end);
    client_list.remove_prefix(std::min(end + 1, client_list.size()));
    const std::string_view name = Field(line, "name=");
    if (!name.starts_with(family)) continue;
    const auto claim = ParseClaim(name.substr(family.size()));
    if (claim && *claim < std::pair(fence.epoch, number)) older.emplace_back(Field(line, "id="));
  }
  return older;
}

}  // namespace apex::redis
