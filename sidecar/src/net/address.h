// A host and a port, and what a connection to it is protected by. Values.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace apex::net {

struct Address {
  std::string host;
  uint16_t port = 0;

  auto operator<=>(const Address&) const = default;
};

/// "host:port", an IPv6 host in brackets.
inline std::string ToString(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

struct Tls {
  bool verify = true;          ///< The certificate must be trusted and name the host.
  std::string ca_file = {};    ///< Who is trusted; empty: whom the system trusts.
  std::string cert_file = {};  ///< Shown to a server that asks for one; empty: none is.
  std::string key_file = {};
};

}  // namespace apex::net
