// How a column's value is written into an image: docs/internals/extension-and-sidecar.md, "Values
// inside before and after".
//
// Nothing here depends on a setting of the session: floats, dates and text are written by this
// code, and types that only their own output function can write are called under
// PinnedOutputSettings. All memory is of the current context. Limits are checked before memory is
// asked for, so that a value too large to encode is a reported problem and not an ERROR in the
// user's statement.
#pragma once

#include "pg/postgres_api.h"

extern "C" {
#include "utils/jsonb.h"
}

namespace apex::pg {

/// No image may grow beyond this, and no single value that an output function has to write.
inline constexpr Size kImageBytesMax = Size{64} * 1024 * 1024;

enum class Kind : uint8 {
  kBool,
  kInt,
  kFloat,
  kNumeric,
  kUuid,
  kText,
  kJson,
  kJsonb,
  kTimestamptz,
  kTimestamp,
  kDate,
  kOther,
};

/// A column's type, reduced to what encoding needs. Domains count as their base type.
struct ValueType {
  Oid type;   ///< The element's type when is_array.
  Kind kind;  ///< Likewise.
  bool is_array;
  int16 length;
  bool by_value;
  char alignment;
  Oid output;  ///< Output function; only called for kOther.

  /// Whether only the type's own output function can write the value.
  bool needs_output_function() const { return kind == Kind::kOther; }
  /// Whether that function is an extension's or walks user-defined types, so that it could raise
  /// anything.
  bool needs_guard() const;
};

ValueType DescribeType(Oid type);

/// The contract's name of a type, for instance "text[]". Allocated.
const char* KindName(const ValueType& type);

/// Collects the values of one jsonb object or array. `problem` is set by the first value that could
/// not be encoded.
struct JsonWriter {
  JsonbValue* values;  ///< Room for each value that will be appended.
  int count;
  JsonbParseState* nested;  ///< Not NULL while an array inside is collected.
  Size bytes;
  const char* problem;
};

JsonWriter StartWriting(int values_max);

/// Appends one value. False, with writer->problem set, when it cannot be encoded.
bool PushValue(JsonWriter* writer, const ValueType& type, Datum value, bool is_null);

/// Appends one value of a key: integers as numbers, everything else as text.
bool PushKeyValue(JsonWriter* writer, const ValueType& type, Datum value, bool is_null);

enum class EmbeddingKind : uint8 { kNone, kReal, kDouble, kVector };

/// kNone when a column of this type cannot hold an embedding. pgvector's type is known by the
/// extension that owns it.
EmbeddingKind DescribeEmbedding(Oid type);

/// The elements as packed little-endian float4. NULL, with *problem set, when it cannot be packed.
/// NaN and infinities pass.
bytea* PackEmbedding(EmbeddingKind kind, Datum value, const char** problem);

/// Sets what output functions look at (DateStyle, IntervalStyle, TimeZone, search_path, ...) and
/// returns the level to give to RestoreOutputSettings. An ERROR in between is undone by the end of
/// the (sub)transaction.
int PinOutputSettings();
void RestoreOutputSettings(int level);

}  // namespace apex::pg
