// Embeddings as packed float4, from the three types that hold them.
#include <bit>

#include "pg/encode.h"

extern "C" {
#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace apex::pg {
namespace {

static_assert(std::endian::native == std::endian::little, "the packed floats are little-endian");

// pgvector's `vector` on disk: the length word, the dimensions, two spare bytes, the elements.
struct PgvectorHeader {
  int32 length_word;
  int16 dimensions;
  int16 spare;
};

bytea* AllocatePacked(Size count) {
  bytea* packed = static_cast<bytea*>(palloc(VARHDRSZ + count * sizeof(float4)));
  SET_VARSIZE(packed, VARHDRSZ + count * sizeof(float4));
  return packed;
}

bytea* PackFloats(const void* floats, Size count) {
  bytea* packed = AllocatePacked(count);
  memcpy(VARDATA(packed), floats, count * sizeof(float4));
  return packed;
}

bytea* PackDoubles(const char* doubles, Size count) {
  bytea* packed = AllocatePacked(count);
  for (Size i = 0; i < count; i++) {
    float8 wide;
    memcpy(&wide, doubles + i * sizeof(wide), sizeof(wide));
    const float4 narrow = static_cast<float4>(wide);
    memcpy(VARDATA(packed) + i * sizeof(narrow), &narrow, sizeof(narrow));
  }
  return packed;
}

bytea* PackArray(EmbeddingKind kind, ArrayType* array, const char** problem) {
  if (ARR_NDIM(array) > 1) {
    *problem = "an embedding has one dimension of elements, this array has more";
    return nullptr;
  }
  if (array_contains_nulls(array)) {
    *problem = "an embedding has no NULL elements";
    return nullptr;
  }
  const Size count = static_cast<Size>(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)));
  return kind == EmbeddingKind::kReal ? PackFloats(ARR_DATA_PTR(array), count)
                                      : PackDoubles(ARR_DATA_PTR(array), count);
}

bytea* PackPgvector(struct varlena* value, const char** problem) {
  const PgvectorHeader* header = reinterpret_cast<const PgvectorHeader*>(value);
  const Size bytes = VARSIZE(value);
  if (bytes < sizeof(PgvectorHeader) || header->dimensions < 0 ||
      bytes != sizeof(PgvectorHeader) + header->dimensions * sizeof(float4)) {
    *problem = "the vector is not laid out as pgvector lays it out";
    return nullptr;
  }
  return PackFloats(header + 1, static_cast<Size>(header->dimensions));
}

bool IsPgvector(Oid type) {
  const Oid extension = getExtensionOfObject(TypeRelationId, type);
  if (!OidIsValid(extension)) return false;
  const char* extension_name = get_extension_name(extension);
  if (extension_name == nullptr || strcmp(extension_name, "vector") != 0) return false;
  // The extension's other types, halfvec and sparsevec, are laid out differently.
  HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
  if (!HeapTupleIsValid(tuple)) return false;
  const Form_pg_type form = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple));
  const bool is_vector = strcmp(NameStr(form->typname), "vector") == 0;
  ReleaseSysCache(tuple);
  return is_vector;
}

}  // namespace

EmbeddingKind DescribeEmbedding(Oid type) {
  const Oid base = getBaseType(type);
  if (base == FLOAT4ARRAYOID) return EmbeddingKind::kReal;
  if (base == FLOAT8ARRAYOID) return EmbeddingKind::kDouble;
  return IsPgvector(base) ? EmbeddingKind::kVector : EmbeddingKind::kNone;
}

bytea* PackEmbedding(EmbeddingKind kind, Datum value, const char** problem) {
  if (toast_raw_datum_size(value) > kImageBytesMax) {
    *problem = psprintf("the embedding is larger than %zu MB", kImageBytesMax / (1024UL * 1024));
    return nullptr;
  }
  if (kind == EmbeddingKind::kVector) {
    return PackPgvector(pg_detoast_datum(reinterpret_cast<struct varlena*>(DatumGetPointer(value))),
                        problem);
  }
  return PackArray(kind, DatumGetArrayTypeP(value), problem);
}

}  // namespace apex::pg
