// Floats as the numbers that jsonb keeps.
#pragma once

#include "pg/postgres_api.h"

extern "C" {
#include "utils/numeric.h"
}

namespace apex::pg {

/// The shortest text that reads back as the same float4 or float8, whatever extra_float_digits
/// says.
char* FloatText(Oid type, Datum value);

/// A finite float4 or float8 as the number that its shortest text reads as. A whole number keeps a
/// fraction, 1e20 becomes 100000000000000000000.0, so that no JSON reader takes it for an integer
/// and then for one that is too large. Numbers in JSON have no negative zero.
Numeric FloatNumber(Oid type, Datum value);

}  // namespace apex::pg
