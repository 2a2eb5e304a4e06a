// What Redis's errors mean for the one who sent the command. The table is
// tests/unit/redis/error_test.cpp.
//
// Pure and thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/store_error.h"
#include "net/errors.h"

namespace apex::redis {

/// native_code of failures that Redis did not word itself.
inline constexpr std::string_view kUnreachable =
    "apex.unreachable";  ///< No connection: nothing was sent.
inline constexpr std::string_view kProtocol = "apex.protocol";
using net::kConnectionLost;  ///< After something was sent.
using net::kTimeout;
inline constexpr std::string_view kBadKey = "apex.key";
inline constexpr std::string_view kBadMapping = "apex.mapping";

/// The first word of an error reply: "WRONGTYPE", "ERR". It is Redis's code.
std::string_view ErrorPrefix(std::string_view reply);

/// Of an error reply. Transient is what concerns the server and not the command: it holds for every
/// row, and it passes.
ErrorKind Classify(std::string_view reply);

/// True when a connection opened anew may be served where this one is refused: another server
/// behind the name after a failover, or the scripts loaded again.
bool NeedsNewConnection(std::string_view reply);

StoreError ReplyError(std::string_view operation, std::string_view reply);
StoreError ClientError(std::string_view operation, ErrorKind kind, std::string_view code,
                       std::string message);

}  // namespace apex::redis
