// Flat jsonb values written in one piece, byte for byte as PostgreSQL writes them.
//
// PostgreSQL's own way collects the members in a parse state, sorts them by key and then copies
// them through a growing buffer. The keys of an image are the same for every row of a table, so
// their order, entries and bytes are laid out once, with the plan. All memory is of the current
// context.
#pragma once

#include "pg/postgres_api.h"

extern "C" {
#include "utils/jsonb.h"
}

namespace apex::pg {

/// The keys of an object, in the order that jsonb keeps them in.
struct ObjectLayout {
  int count;
  const int* order;  ///< The index, as given to LayOut, of the key that stands at each place.
  const JEntry* entries;
  const char* bytes;
  uint32 bytes_length;
};

/// Lays out distinct names.
ObjectLayout LayOut(const char* const* names, int count);

/// The object of these values, given in the order of the names. A value is a scalar or binary.
/// Together they have to be within kImageBytesMax.
const Jsonb* BuildObject(const ObjectLayout& layout, const JsonbValue* values);

const Jsonb* BuildArray(const JsonbValue* values, int count);

}  // namespace apex::pg
