// Every row of a table or partition at once, where no row trigger tells of them: a partition that
// leaves or joins its table, and TRUNCATE.
#pragma once

#include "pg/mapping.h"

namespace apex::pg {

inline constexpr char kDeleted = 'D';
inline constexpr char kRefreshed = 'R';

/// Captures the rows of one table or leaf partition. The caller's lock keeps writers out, so that
/// each row's version is drawn after all it had before.
void CaptureRowsOf(Relation leaf, char op);

/// Captures the rows of `part` and of what it is divided into, which is locked.
void CaptureRows(Oid part, char op);

}  // namespace apex::pg
