// Who may do what with a table, and the call of what does it as the extension's owner.
#pragma once

#include "pg/postgres_api.h"

namespace apex::pg {

/// Whether the current user owns the table, or is a superuser.
bool OwnsTable(Oid table);

/// Raises when the first argument, the table, is NULL.
void CheckTableGiven(FunctionCallInfo fcinfo);

/// Calls the function of schema apex with this call's own arguments, which its signature repeats.
/// Where in our PL/pgSQL something was refused is of no use to whoever asked: only a defect of ours
/// keeps its context.
void CallWithoutContext(FunctionCallInfo fcinfo, const char* inner);

}  // namespace apex::pg
