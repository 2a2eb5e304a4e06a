// How the connections that write for a leader are told apart from those of the leaders before it.
//
// Redis has nothing that a write could be checked against and that lasts: a key may be evicted,
// flushed or lost in a failover, and in a cluster a script sees one slot. So a connection carries
// the claim in its name, and a newer one ends the older ones on its server before it writes
// anything. ARCHITECTURE.md has the argument. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/target_store.h"

namespace apex::redis {

/// What a leader's connections share.
struct Claims {
  Fence fence;
  int64_t made = 0;  ///< The number of the newest.
};

/// For CLIENT SETNAME. `number` rises with every connection that a process makes: what it has sent
/// on an earlier one and given up must not arrive later either.
std::string ClaimName(const Fence& fence, int64_t number);

/// The ids in a CLIENT LIST of those connections of the fence's pipeline and database whose claim
/// is older.
std::vector<std::string> OlderClaims(std::string_view client_list, const Fence& fence,
                                     int64_t number);

}  // namespace apex::redis
