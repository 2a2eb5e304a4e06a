// The address of a Neo4j server or cluster, as its official drivers write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "net/address.h"

namespace apex::neo4j {

enum class Security {
  kPlain,
  kTls,            ///< bolt+s, neo4j+s: the certificate must be trusted and name the host.
  kTlsUnverified,  ///< bolt+ssc, neo4j+ssc: encrypted, any certificate.
};

using net::Address;
using net::ToString;

/// Reads "host", "host:port", "[::1]:port", with the port 7687 where there is none; permanent error
/// otherwise.
Result<Address> ParseAddress(std::string_view text);

struct Uri {
  Address address;
  Security security = Security::kPlain;
  bool routing = false;  ///< neo4j://: the server is asked who takes writes.
  std::vector<std::pair<std::string, std::string>>
      routing_context;  ///< The query of a neo4j:// URI.
};

/// The error is permanent and says what is wrong without repeating a password that stands in the
/// text.
Result<Uri> ParseUri(std::string_view text);

}  // namespace apex::neo4j
