// Which point a row is: docs/internals/extension-and-sidecar.md, "What lands where, exactly".
#pragma once

#include <string>
#include <string_view>

#include "core/change.h"
#include "qdrant.pb.h"

namespace apex::qdrant {

/// UUID version 5 (RFC 9562) of `name` in the namespace of URLs, lower case.
std::string UuidV5(std::string_view name);

/// The id of the row's point. Depends only on the mapping's table and key columns and on the row's
/// key, so it is the same in every process and after every restart.
::qdrant::PointId PointIdOf(const TableMapping& mapping, const RowId& row);

/// Appends the same, encoded.
void AppendPointId(const TableMapping& mapping, const RowId& row, std::string& out);

}  // namespace apex::qdrant
