// The address of a store, taken apart: scheme://[user[:password]@]host[:port][/path].
//
// Pure and without network access: a host stays a name. Holds secrets: nobody prints one whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace apex {

struct Uri {
  std::string scheme;               ///< Lower case.
  std::optional<std::string> user;  ///< Percent-decoded, as is the password.
  std::optional<std::string> password;
  std::string host;  ///< An IPv6 address comes without its brackets.
  std::optional<uint16_t> port;
  std::string path;  ///< With its leading slash; empty when there is none.
};

/// nullopt when `text` is not such an address, for instance because it has no host or a query
/// follows the path.
std::optional<Uri> ParseUri(std::string_view text);

struct HostPort {
  std::string host;  ///< An IPv6 address comes without its brackets.
  std::optional<uint16_t> port;
};

/// scheme://[user[:password]@]host[:port][,host[:port]...][/path]: one store of several servers.
struct UriOfHosts {
  std::string scheme;
  std::optional<std::string> user;
  std::optional<std::string> password;
  std::vector<HostPort> hosts;  ///< At least one.
  std::string path;
};

std::optional<UriOfHosts> ParseUriOfHosts(std::string_view text);

/// "host", "host:port", "[::1]:port". nullopt when the host is empty or the port is no number up to
/// 65535.
std::optional<HostPort> ParseHostPort(std::string_view text);

}  // namespace apex
