// Where a key lives in a Redis Cluster: its slot, and which servers hold the slots.
//
// A value; not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.h"
#include "stores/redis/reply.h"

namespace apex::redis {

inline constexpr size_t kSlots = 16384;

/// Of the part between the first '{' and the next '}', or of the whole key where there is none.
uint16_t SlotOf(std::string_view key);

class SlotMap {
 public:
  /// Reads the answer to CLUSTER SLOTS. A server without an address of its own is the one that was
  /// `asked`. nullopt: it is none, or names no primary.
  static std::optional<SlotMap> Parse(const Reply& reply, const net::Address& asked);

  /// Null: nobody serves the slot.
  const net::Address* PrimaryOf(uint16_t slot) const;
  /// Told by a server that was asked for a key of the slot.
  void Move(uint16_t slot, const net::Address& primary);

  std::vector<net::Address> Primaries() const;
  /// Primaries and replicas.
  const std::set<net::Address>& nodes() const { return nodes_; }

  bool operator==(const SlotMap&) const = default;

 private:
  static constexpr uint16_t kNobody = 0xffff;

  uint16_t IndexOf(const net::Address& primary);

  std::vector<net::Address> primaries_;  ///< Also such as have lost their last slot since.
  std::array<uint16_t, kSlots> owners_{};
  std::set<net::Address> nodes_;
};

/// Where a refused command has to go.
struct Redirection {
  bool once = false;  ///< ASK: this command alone, after an ASKING. Else the slot has moved.
  uint16_t slot = 0;
  net::Address address;
};

/// "MOVED 3999 10.0.0.1:6381". nullopt: the words are not a redirection.
std::optional<Redirection> ParseRedirection(std::string_view words, const net::Address& asked);

}  // namespace apex::redis
