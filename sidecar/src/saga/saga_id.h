// The identity of a saga: the same after any replay, by any process.
#pragma once

#include <string>
#include <string_view>

#include "saga/group.h"

namespace apex::saga {

/// A uuid7 (RFC 9562) whose time is that of the saga's first change and whose other bits are a hash
/// of the database system, the transaction and the aggregate.
std::string SagaId(std::string_view system_identifier, const Saga& saga);

}  // namespace apex::saga
