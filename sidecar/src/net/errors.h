// native_code of failures that are the network's and not a server's.
#pragma once

#include <string_view>

namespace apex::net {

inline constexpr std::string_view kTimeout = "apex.timeout";
inline constexpr std::string_view kConnectionLost = "apex.connection_lost";
inline constexpr std::string_view kConnectFailed = "apex.connect_failed";
inline constexpr std::string_view kTlsFailed = "apex.tls_failed";

}  // namespace apex::net
