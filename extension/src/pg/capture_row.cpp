#include "pg/capture.h"

extern "C" {
#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
}

namespace apex::pg {
namespace {

struct Attribute {
  Datum value;
  bool is_null;
};

Attribute Get(RowImage* row, const PlanColumn& column, const RowValues& values) {
  row->reached = &column;
  const int index = column.attribute - 1;
  return {values.values[index], values.nulls[index]};
}

const char* Explain(const PlanColumn& column, const char* problem) {
  return psprintf("column \"%s\": %s", column.name, problem);
}

// Keeps the first error: the later ones are often its consequences.
void Fail(RowImage* row, const PlanColumn& column, const char* problem) {
  if (row->error == nullptr) row->error = Explain(column, problem);
}

void FailKey(RowImage* row, const PlanColumn& column, const char* problem) {
  Fail(row, column, problem);
  row->key_error = row->error;
}

const Jsonb* NullKey(int count) {
  JsonWriter writer = StartWriting(count);
  for (int i = 0; i < count; i++) writer.values[i].type = jbvNull;
  return BuildArray(writer.values, count);
}

// A part of the key that cannot be written is null there, so that every event has a key of the
// right length.
const Jsonb* EncodeKey(RowImage* row, const PlanColumn* columns, int count,
                       const RowValues& values) {
  JsonWriter writer = StartWriting(count);
  for (int i = 0; i < count; i++) {
    const PlanColumn& column = columns[i];
    const Attribute attribute =
        column.problem == nullptr ? Get(row, column, values) : Attribute{0, true};
    if (column.problem != nullptr) {
      FailKey(row, column, column.problem);
    } else if (attribute.is_null) {
      FailKey(row, column, "it is NULL in a key");
    }
    if (PushKeyValue(&writer, column.type, attribute.value, attribute.is_null)) continue;
    FailKey(row, column, writer.problem);
    return NullKey(count);
  }
  return BuildArray(writer.values, count);
}

const Jsonb* EncodeImage(RowImage* row, const CapturePlan& plan, const RowValues& values) {
  JsonWriter writer = StartWriting(plan.column_count);
  for (int i = 0; i < plan.column_count; i++) {
    const PlanColumn& column = plan.columns[i];
    if (column.problem != nullptr) {
      Fail(row, column, column.problem);
      return nullptr;
    }
    const Attribute attribute = Get(row, column, values);
    if (!PushValue(&writer, column.type, attribute.value, attribute.is_null)) {
      Fail(row, column, writer.problem);
      return nullptr;
    }
  }
  return BuildObject(plan.layout, writer.values);
}

const bytea* EncodeEmbedding(RowImage* row, const CapturePlan& plan, const RowValues& values) {
  if (plan.embedding.problem != nullptr) Fail(row, plan.embedding, plan.embedding.problem);
  if (plan.embedding_kind == EmbeddingKind::kNone) return nullptr;
  const Attribute attribute = Get(row, plan.embedding, values);
  if (attribute.is_null) return nullptr;
  const char* problem = nullptr;
  const bytea* packed = PackEmbedding(plan.embedding_kind, attribute.value, &problem);
  if (problem != nullptr) Fail(row, plan.embedding, problem);
  return packed;
}

void EncodeAggregate(RowImage* row, const CapturePlan& plan, const RowValues& values) {
  if (!OidIsValid(plan.aggregate_relation)) return;
  if (plan.aggregate.problem != nullptr) {
    Fail(row, plan.aggregate, plan.aggregate.problem);
    return;
  }
  if (Get(row, plan.aggregate, values).is_null) return;
  row->aggregate_key = EncodeKey(row, &plan.aggregate, 1, values);
}

// The key comes first, so that it is there whatever happens to the rest. Not inlined, so that what
// it wrote to *row before an ERROR is there for EncodeGuarded.
pg_noinline void EncodeParts(RowImage* row, const CapturePlan& plan, const RowValues& values,
                             bool image) {
  const int level = plan.pins_output ? PinOutputSettings() : 0;
  row->key = EncodeKey(row, plan.key, plan.key_count, values);
  EncodeAggregate(row, plan, values);
  if (image) {
    row->image = EncodeImage(row, plan, values);
    row->embedding = EncodeEmbedding(row, plan, values);
  }
  if (plan.pins_output) RestoreOutputSettings(level);
}

bool MustRaise(const ErrorData* error) {
  const int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  return category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES;
}

// Output functions of user-defined types can raise anything, and only a subtransaction makes it
// legitimate to go on after an ERROR. It costs no transaction id, since nothing is written inside.
// Rows of built-in types never come here.
void EncodeGuarded(RowImage* row, const CapturePlan& plan, const RowValues& values, bool image) {
  const MemoryContext context = CurrentMemoryContext;
  const ResourceOwner owner = CurrentResourceOwner;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(context);
  PG_TRY();
  {
    EncodeParts(row, plan, values, image);
    ReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    ErrorData* error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    if (MustRaise(error)) ReThrowError(error);
    row->error = row->reached == nullptr ? error->message : Explain(*row->reached, error->message);
    if (row->key == nullptr) {
      row->key = NullKey(plan.key_count);
      row->key_error = row->error;
    }
  }
  PG_END_TRY();
}

RowImage Encode(const CapturePlan& plan, const RowValues& values, bool image) {
  RowImage row{};
  if (plan.guarded) {
    EncodeGuarded(&row, plan, values, image);
  } else {
    EncodeParts(&row, plan, values, image);
  }
  if (row.error != nullptr) {
    row.image = nullptr;
    row.embedding = nullptr;
  }
  return row;
}

}  // namespace

RowValues TakeApart(HeapTuple tuple, TupleDesc descriptor) {
  const Size columns = static_cast<Size>(descriptor->natts);
  RowValues row{};
  row.values = static_cast<Datum*>(palloc(columns * (sizeof(Datum) + sizeof(bool))));
  row.nulls = reinterpret_cast<bool*>(row.values + columns);
  heap_deform_tuple(tuple, descriptor, row.values, row.nulls);
  return row;
}

RowImage EncodeRow(const CapturePlan& plan, const RowValues& values) {
  return Encode(plan, values, true);
}

RowImage EncodeKeys(const CapturePlan& plan, const RowValues& values) {
  return Encode(plan, values, false);
}

}  // namespace apex::pg
