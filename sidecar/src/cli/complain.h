// What the commands say when PostgreSQL refuses, and how they find the table that they were told.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "core/mapping.h"
#include "core/result.h"

namespace apex::cli {

/// Prints the error, with a hint where the extension seems to be missing. Returns kFailure.
int Complain(const StoreError& error);

/// The attached table of this name, which may leave out the schema where one table alone is called
/// so. The text says why there is none.
std::variant<MappingPtr, std::string> FindTable(const std::vector<TableMapping>& mappings,
                                                const std::string& name);

}  // namespace apex::cli
