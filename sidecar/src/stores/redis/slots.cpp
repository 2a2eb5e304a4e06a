#include "stores/redis/slots.h"

#include <algorithm>
#include <charconv>

namespace apex::redis {
namespace {

/// CRC-16/XMODEM, as the cluster specification names it.
constexpr std::array<uint16_t, 256> MakeTable() {
  std::array<uint16_t, 256> table{};
  for (unsigned byte = 0; byte < table.size(); ++byte) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[byte] = static_cast<uint16_t>(crc);
  }
  return table;
}
constexpr std::array<uint16_t, 256> kTable = MakeTable();

template <typename Number>
bool ParseNumber(std::string_view text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && at == end;
}

/// [host, port, ...]. A host that is not known to the server itself is empty, nil or "?".
std::optional<net::Address> ParseNode(const Reply& node, const net::Address& asked) {
  if (node.elements.size() < 2) return std::nullopt;
  const std::string& host = node.elements[0].text;
  const int64_t port = node.elements[1].integer;
  if (host == "?" || port <= 0 || port > 0xffff) return std::nullopt;
  return net::Address{.host = host.empty() ? asked.host : host,
                      .port = static_cast<uint16_t>(port)};
}

}  // namespace

uint16_t SlotOf(std::string_view key) {
  if (const size_t open = key.find('{'); open != std::string_view::npos) {
    const size_t close = key.find('}', open);
    if (close != std::string_view::npos && close > open + 1)
      key = key.substr(open + 1, close - open - 1);
  }
  unsigned crc = 0;
  for (const unsigned char byte : key)
    crc = ((crc << 8) & 0xffff) ^ kTable[((crc >> 8) ^ byte) & 0xff];
  return static_cast<uint16_t>(crc % kSlots);
}

std::optional<SlotMap> SlotMap::Parse(const Reply& reply, const net::Address& asked) {
  SlotMap map;
  map.owners_.fill(kNobody);
  for (const Reply& range : reply.elements) {
    if (range.elements.size() < 3) return std::nullopt;
    const int64_t first = range.elements[0].integer;
    const int64_t last = range.elements[1].integer;
    if (first < 0 || last < first || last >= static_cast<int64_t>(kSlots)) return std::nullopt;
    const std::optional<net::Address> primary = ParseNode(range.elements[2], asked);
    if (!primary) continue;
    const uint16_t index = map.IndexOf(*primary);
    std::fill(map.owners_.begin() + first, map.owners_.begin() + last + 1, index);
    for (size_t i = 3; i < range.elements.size(); ++i) {
      if (const auto replica = ParseNode(range.elements[i], asked)) map.nodes_.insert(*replica);
    }
  }
  if (map.primaries_.empty()) return std::nullopt;
  return map;
}

const net::Address* SlotMap::PrimaryOf(uint16_t slot) const {
  const uint16_t owner = owners_[slot];
  return owner == kNobody ? nullptr : &primaries_[owner];
}

void SlotMap::Move(uint16_t slot, const net::Address& primary) { owners_[slot] = IndexOf(primary); }

std::vector<net::Address> SlotMap::Primaries() const {
  std::vector<bool> serves(primaries_.size());
  for (const uint16_t owner : owners_) {
    if (owner != kNobody) serves[owner] = true;
  }
  std::vector<net::Address> primaries;
  for (size_t i = 0; i < primaries_.size(); ++i) {
    if (serves[i]) primaries.push_back(primaries_[i]);
  }
  return primaries;
}

uint16_t SlotMap::IndexOf(const net::Address& primary) {
  const auto known = std::ranges::find(primaries_, primary);
  const auto index = static_cast<uint16_t>(known - primaries_.begin());
  if (known == primaries_.end()) {
    primaries_.push_back(primary);
    nodes_.insert(primary);
  }
  return index;
}

std::optional<Redirection> ParseRedirection(std::string_view words, const net::Address& asked) {
  Redirection redirection;
  redirection.once = words.starts_with("ASK ");
  if (!redirection.once && !words.starts_with("MOVED ")) return std::nullopt;
  words.remove_prefix(words.find(' ') + 1);
  const size_t space = words.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  if (!ParseNumber(words.substr(0, space), redirection.slot) || redirection.slot >= kSlots)
    return std::nullopt;
  // An IPv6 address comes without brackets.
  words.remove_prefix(space + 1);
  const size_t colon = words.rfind(':');
  if (colon == std::string_view::npos ||
      !ParseNumber(words.substr(colon + 1), redirection.address.port))
    return std::nullopt;
  redirection.address.host = colon == 0 ? asked.host : words.substr(0, colon);
  return redirection;
}

}  // namespace apex::redis
