// From SQLSTATE to the kinds of error that the rest of the sidecar knows. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "core/store_error.h"

namespace apex::postgres {

/// An error that the server reported to a statement. An empty `sqlstate` means that the connection
/// went away instead: then nobody knows whether a commit went through.
StoreError Classify(std::string operation, std::string_view sqlstate, std::string_view message);

/// libpq's message about a connection that was not made, with verbose errors switched on: it holds
/// the SQLSTATE when the server answered at all. Never of unknown outcome, since nothing was asked
/// yet.
StoreError ClassifyConnect(std::string_view libpq_message);

}  // namespace apex::postgres
