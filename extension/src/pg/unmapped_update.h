// Statements that can change no mapped column are not asked about each of their rows.
//
// For an AFTER trigger PostgreSQL fetches a row's old version, queues it, fetches both versions
// again and calls the function, which is to find out that nothing of interest has changed. Which
// columns an UPDATE sets is known before its first row, so the trigger's part in updates is taken
// out of the statement's own copy of the table's triggers. Nothing is changed in the catalog, as it
// would be by UPDATE OF and WHEN, and where the statement is not known well enough the trigger
// fires as ever.
#pragma once

namespace apex::pg {

/// Installs the executor's hook. Once per process.
void InitializeUnmappedUpdate();

}  // namespace apex::pg
