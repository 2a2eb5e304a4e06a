// What a gRPC status from Qdrant means for the request that got it.
//
// Pure and stateless: table-tested in tests/unit/qdrant/classify_test.cpp.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "core/store_error.h"

namespace apex::qdrant {

/// The kind of a failure. `status` is not OK.
ErrorKind Classify(const grpc::Status& status);

/// "INVALID_ARGUMENT" and so on, as the gRPC documentation spells them.
std::string_view StatusName(grpc::StatusCode code);

/// The seconds of a `retry-after` header, rounded up to milliseconds; nullopt when it says
/// something else.
std::optional<std::chrono::milliseconds> ParseRetryAfter(std::string_view value);

}  // namespace apex::qdrant
