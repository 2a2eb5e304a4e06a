// Who may do what with a table.
#pragma once

#include "pg/postgres_api.h"

namespace apex::pg {

/// Whether the current user owns the table, or is a superuser.
bool OwnsTable(Oid table);

}  // namespace apex::pg
