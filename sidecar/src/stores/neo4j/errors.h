// Neo4j's failures as the one error value that leaves this folder.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "core/store_error.h"
#include "net/errors.h"

namespace apex::neo4j {

/// native_code of failures that the server did not name.
using net::kConnectFailed;
using net::kConnectionLost;
using net::kTimeout;
using net::kTlsFailed;
inline constexpr std::string_view kProtocol = "apex.protocol";
/// An acknowledged write whose count was short (rule E11).
inline constexpr std::string_view kShortfall = "apex.shortfall";
/// More in one call than one transaction may carry; permanent, so that the caller halves it.
inline constexpr std::string_view kTooLarge = "apex.too_large";

/// What a Neo4j status code ("Neo.TransientError.Transaction.DeadlockDetected") means for the
/// request it answered.
ErrorKind Classify(std::string_view code);

inline StoreError MakeError(std::string_view operation, ErrorKind kind, std::string_view code,
                            std::string message) {
  return StoreError{.store = Store::kNeo4j,
                    .operation = std::string(operation),
                    .kind = kind,
                    .native_code = std::string(code),
                    .message = std::move(message),
                    .retry_after = std::nullopt};
}

}  // namespace apex::neo4j
