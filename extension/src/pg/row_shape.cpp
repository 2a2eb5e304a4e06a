#include "pg/row_shape.h"

#include "pg/mapping_spec.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

namespace apex::pg {
namespace {

// A code is a place in this list, counted from 1, plus kArrayFlag for an array of it. Blocks hold
// codes: new types go to the end.
constexpr Oid kTypes[] = {BOOLOID,        INT2OID,      INT4OID, INT8OID,   FLOAT4OID, FLOAT8OID,
                          NUMERICOID,     UUIDOID,      TEXTOID, BPCHAROID, JSONOID,   JSONBOID,
                          TIMESTAMPTZOID, TIMESTAMPOID, DATEOID, BYTEAOID};
constexpr int kTypeCount = sizeof(kTypes) / sizeof(kTypes[0]);
constexpr uint8 kArrayFlag = 0x80;
constexpr uint8 kNoCode = 0;

uint8 CodeOf(Oid type) {
  if (type == VARCHAROID) type = TEXTOID;
  for (int i = 0; i < kTypeCount; i++) {
    if (kTypes[i] == type) return static_cast<uint8>(i + 1);
  }
  return kNoCode;
}

uint8 CodeOf(const PlanColumn& column) {
  // As a value bytea is text by its output function, which has to run at capture like any other.
  if (column.problem != nullptr || column.type.kind == Kind::kOther) return kNoCode;
  const uint8 code = CodeOf(column.type.type);
  return code != kNoCode && column.type.is_array ? code | kArrayFlag : code;
}

uint8 CodeOf(EmbeddingKind kind) {
  switch (kind) {
    case EmbeddingKind::kReal: return CodeOf(FLOAT4OID) | kArrayFlag;
    case EmbeddingKind::kDouble: return CodeOf(FLOAT8OID) | kArrayFlag;
    case EmbeddingKind::kVector: return CodeOf(BYTEAOID);
    case EmbeddingKind::kNone: break;
  }
  return kNoCode;
}

Oid TypeOf(uint8 code) {
  const int place = code & ~kArrayFlag;
  if (place < 1 || place > kTypeCount) return InvalidOid;
  return (code & kArrayFlag) != 0 ? get_array_type(kTypes[place - 1]) : kTypes[place - 1];
}

bool KeepsValues(const CapturePlan& plan, const uint8* codes, int count) {
  for (int i = 0; i < count; i++) {
    if (codes[i] == kNoCode) return false;
  }
  if (plan.embedding.problem != nullptr || plan.aggregate.problem != nullptr) return false;
  for (int i = 0; i < plan.key_count; i++) {
    if (plan.key[i].problem != nullptr) return false;
  }
  return true;
}

// Of every type in kTypes and its arrays.
int16 LengthOf(Oid type) {
  if (!OidIsValid(type)) return kVariableLength;
  int16 length;
  bool by_value;
  get_typlenbyval(type, &length, &by_value);
  return by_value ? kByValue : length;
}

ShapeColumn* AllocateColumns(int count) {
  return static_cast<ShapeColumn*>(palloc0(sizeof(ShapeColumn) * static_cast<Size>(count + 1)));
}

// The spec of a mapping, which is never changed once events name it.
JsonbContainer* ReadSpec(int32 id) {
  const Oid schema = get_namespace_oid("apex", false);
  const Relation mappings = table_open(get_relname_relid("mapping", schema), AccessShareLock);
  ScanKeyData by_id;
  ScanKeyInit(&by_id, kMappingId, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
  SysScanDesc scan = systable_beginscan(mappings, InvalidOid, false, nullptr, 1, &by_id);
  const HeapTuple tuple = systable_getnext(scan);
  if (!HeapTupleIsValid(tuple)) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("apex.mapping has no row %d, which events name", id)));
  }
  bool is_null;
  Jsonb* spec =
      DatumGetJsonbPCopy(heap_getattr(tuple, kMappingSpec, RelationGetDescr(mappings), &is_null));
  systable_endscan(scan);
  table_close(mappings, AccessShareLock);
  return &spec->root;
}

PlanColumn ColumnOf(const CapturePlan& plan, const char* name) {
  for (int i = 0; i < plan.column_count; i++) {
    if (strcmp(plan.columns[i].name, name) == 0) return plan.columns[i];
  }
  ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                  errmsg("row %d of apex.mapping has no column \"%s\"", plan.mapping, name)));
  pg_unreachable();
}

JsonbContainer* Element(JsonbContainer* list, int index) {
  return getIthJsonbValueFromContainer(list, static_cast<uint32>(index))->val.binary.data;
}

bool ReadColumns(CapturePlan* plan, JsonbContainer* spec, const uint8* codes) {
  JsonbContainer* columns = Child(spec, "columns");
  JsonbContainer* key = Child(spec, "key");
  const bool has_embedding = plan->embedding_kind != EmbeddingKind::kNone;
  plan->column_count = static_cast<int>(JsonContainerSize(columns));
  if (plan->column_count + (has_embedding ? 1 : 0) != plan->shape.count) return false;
  plan->columns = static_cast<PlanColumn*>(
      palloc0(sizeof(PlanColumn) * static_cast<Size>(plan->column_count + 1)));
  for (int i = 0; i < plan->column_count; i++) {
    PlanColumn* column = &plan->columns[i];
    column->name = TextMember(Element(columns, i), "column");
    column->attribute = static_cast<AttrNumber>(i + 1);
    column->type = DescribeType(TypeOf(codes[i]));
  }
  plan->layout = LayOutNames(plan->columns, plan->column_count);
  plan->key_count = static_cast<int>(JsonContainerSize(key));
  plan->key = static_cast<PlanColumn*>(
      palloc0(sizeof(PlanColumn) * static_cast<Size>(plan->key_count + 1)));
  for (int i = 0; i < plan->key_count; i++) {
    plan->key[i] = ColumnOf(*plan, TextMember(Element(key, i), "column"));
  }
  if (OidIsValid(plan->aggregate_relation)) {
    plan->aggregate = ColumnOf(*plan, TextMember(Child(spec, "aggregate"), "column"));
  }
  if (has_embedding) {
    plan->embedding.name = TextMember(Child(spec, "embedding"), "column");
    plan->embedding.attribute = static_cast<AttrNumber>(plan->shape.count);
  }
  return true;
}

}  // namespace

void DescribeShape(CapturePlan* plan) {
  static uint64 shapes = 0;
  const bool has_embedding = plan->embedding_kind != EmbeddingKind::kNone;
  const int count = plan->column_count + (has_embedding ? 1 : 0);
  char* bytes = static_cast<char*>(palloc0(sizeof(ShapeHead) + static_cast<Size>(count)));
  uint8* codes = reinterpret_cast<uint8*>(bytes + sizeof(ShapeHead));
  RowShape* shape = &plan->shape;
  shape->columns = AllocateColumns(count);
  for (int i = 0; i < count; i++) {
    const bool is_embedding = i == plan->column_count;
    codes[i] = is_embedding ? CodeOf(plan->embedding_kind) : CodeOf(plan->columns[i]);
    const PlanColumn& column = is_embedding ? plan->embedding : plan->columns[i];
    shape->columns[i] = {column.attribute, LengthOf(TypeOf(codes[i]))};
  }
  shape->serial = ++shapes;
  shape->count = count;
  shape->keeps_values = KeepsValues(*plan, codes, count);
  const int kept = shape->keeps_values ? count : 0;
  const ShapeHead head{plan->mapping, plan->root, plan->aggregate_relation,
                       static_cast<uint16>(kept), plan->embedding_kind};
  memcpy(bytes, &head, sizeof(head));
  shape->bytes = bytes;
  shape->bytes_length = static_cast<uint32>(sizeof(ShapeHead) + static_cast<Size>(kept));
}

const CapturePlan* PlanForReading(const char* bytes, Size length) {
  ShapeHead head;
  if (length < sizeof(head)) return nullptr;
  memcpy(&head, bytes, sizeof(head));
  if (length != sizeof(head) + head.columns) return nullptr;
  CapturePlan* plan = static_cast<CapturePlan*>(palloc0(sizeof(CapturePlan)));
  plan->root = head.relation;
  plan->mapping = head.mapping;
  plan->aggregate_relation = head.aggregate_relation;
  if (head.columns == 0) return plan;
  plan->embedding_kind = head.embedding_kind;
  const auto* codes = reinterpret_cast<const uint8*>(bytes + sizeof(head));
  plan->shape.count = head.columns;
  plan->shape.columns = AllocateColumns(head.columns);
  for (int i = 0; i < head.columns; i++) {
    const Oid type = TypeOf(codes[i]);
    if (!OidIsValid(type)) return nullptr;
    plan->shape.columns[i] = {static_cast<AttrNumber>(i + 1), LengthOf(type)};
  }
  return ReadColumns(plan, ReadSpec(head.mapping), codes) ? plan : nullptr;
}

}  // namespace apex::pg
