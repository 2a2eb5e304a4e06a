#include "pg/mapping.h"

#include "pg/mapping_spec.h"
#include "pg/row_shape.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
}

namespace apex::pg {
namespace {

constexpr int kPlansExpected = 64;

// One entry a relation. The plan lives in its own context, so that a new one replaces it whole.
struct PlanEntry {
  Oid relation;
  bool valid;
  MemoryContext context;
  CapturePlan* plan;
};

HTAB* plans = nullptr;

// An update of the extension may have made its tables anew.
bool NamesOutbox(const OutboxOids& outbox, Oid relation) {
  for (const Oid slot : outbox.slots) {
    if (slot == relation) return true;
  }
  return outbox.sequence == relation;
}

// Runs inside invalidation processing: it only marks, the next FindPlan rebuilds.
void InvalidatePlans(Datum /*argument*/, Oid relation) {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, plans);
  while (auto* entry = static_cast<PlanEntry*>(hash_seq_search(&scan))) {
    const bool being_built = entry->plan == nullptr;
    if (relation == InvalidOid || relation == entry->relation || being_built ||
        relation == entry->plan->root || NamesOutbox(entry->plan->outbox, relation)) {
      entry->valid = false;
    }
  }
}

void MakePlanCache() {
  HASHCTL control{};
  control.keysize = sizeof(Oid);
  control.entrysize = sizeof(PlanEntry);
  plans = hash_create("apex capture plans", kPlansExpected, &control, HASH_ELEM | HASH_BLOBS);
  CacheRegisterRelcacheCallback(InvalidatePlans, Datum{0});
}

AttrNumber AttributeMember(JsonbContainer* object) {
  JsonbValue* value = Member(object, "attnum");
  if (value == nullptr || value->type != jbvNumeric) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("apex.mapping.spec has a column without \"attnum\"")));
  }
  return static_cast<AttrNumber>(
      DatumGetInt16(DirectFunctionCall1(numeric_int2, NumericGetDatum(value->val.numeric))));
}

// The attribute in the relation where the trigger fires: the attached table's own, or the
// partition's of the same name.
AttrNumber LocalAttribute(Relation relation, Relation root, AttrNumber attribute) {
  if (attribute <= 0 || attribute > RelationGetNumberOfAttributes(root)) return InvalidAttrNumber;
  const Form_pg_attribute form = TupleDescAttr(RelationGetDescr(root), attribute - 1);
  if (form->attisdropped) return InvalidAttrNumber;
  return relation == root ? attribute
                          : get_attnum(RelationGetRelid(relation), NameStr(form->attname));
}

Oid AttributeType(Relation relation, AttrNumber attribute) {
  return TupleDescAttr(RelationGetDescr(relation), attribute - 1)->atttypid;
}

// `spec` is {"column", "kind", "attnum"}. The embedding has no kind: its type is looked at by
// DescribeEmbedding.
PlanColumn ResolveColumn(Relation relation, Relation root, JsonbContainer* spec,
                         const char* attached_kind) {
  PlanColumn column{};
  column.name = TextMember(spec, "column");
  column.attribute = LocalAttribute(relation, root, AttributeMember(spec));
  if (column.attribute == InvalidAttrNumber) {
    column.problem = "it was dropped after apex.attach";
    return column;
  }
  column.type = DescribeType(AttributeType(relation, column.attribute));
  if (attached_kind != nullptr && strcmp(KindName(column.type), attached_kind) != 0) {
    column.problem = psprintf("its type changed after apex.attach, from %s to %s", attached_kind,
                              KindName(column.type));
  }
  return column;
}

PlanColumn* ResolveColumns(Relation relation, Relation root, JsonbContainer* spec,
                           const char* member, int* count) {
  JsonbContainer* list = Child(spec, member);
  *count = list == nullptr ? 0 : static_cast<int>(JsonContainerSize(list));
  PlanColumn* columns = static_cast<PlanColumn*>(palloc0(sizeof(PlanColumn) * (*count + 1)));
  for (int i = 0; i < *count; i++) {
    JsonbValue* value = getIthJsonbValueFromContainer(list, static_cast<uint32>(i));
    JsonbContainer* column = value->val.binary.data;
    columns[i] = ResolveColumn(relation, root, column, TextMember(column, "kind"));
  }
  return columns;
}

void ResolveEmbedding(CapturePlan* plan, Relation relation, Relation root, JsonbContainer* spec) {
  JsonbContainer* embedding = Child(spec, "embedding");
  if (embedding == nullptr) return;
  plan->embedding = ResolveColumn(relation, root, embedding, nullptr);
  if (plan->embedding.problem != nullptr) return;
  plan->embedding_kind = DescribeEmbedding(AttributeType(relation, plan->embedding.attribute));
  if (plan->embedding_kind == EmbeddingKind::kNone) {
    plan->embedding.problem = "its type changed after apex.attach to one that holds no embedding";
  }
}

void NoteOutput(CapturePlan* plan, const PlanColumn* columns, int count) {
  for (int i = 0; i < count; i++) {
    if (columns[i].problem != nullptr) continue;
    plan->pins_output |= columns[i].type.needs_output_function();
    plan->guarded |= columns[i].type.needs_guard();
  }
}

void FillPlan(CapturePlan* plan, Relation relation, Relation root, HeapTuple mapping,
              TupleDesc descriptor) {
  bool is_null;
  plan->root = RelationGetRelid(root);
  plan->mapping = DatumGetInt32(heap_getattr(mapping, kMappingId, descriptor, &is_null));
  Jsonb* spec = DatumGetJsonbPCopy(heap_getattr(mapping, kMappingSpec, descriptor, &is_null));
  plan->key = ResolveColumns(relation, root, &spec->root, "key", &plan->key_count);
  plan->columns = ResolveColumns(relation, root, &spec->root, "columns", &plan->column_count);
  plan->layout = LayOutNames(plan->columns, plan->column_count);
  const Datum aggregate_relation = heap_getattr(mapping, kMappingAggregate, descriptor, &is_null);
  if (JsonbContainer* aggregate = Child(&spec->root, "aggregate");
      aggregate != nullptr && !is_null) {
    plan->aggregate_relation = DatumGetObjectId(aggregate_relation);
    plan->aggregate = ResolveColumn(relation, root, aggregate, TextMember(aggregate, "kind"));
    NoteOutput(plan, &plan->aggregate, 1);
  }
  ResolveEmbedding(plan, relation, root, &spec->root);
  NoteOutput(plan, plan->key, plan->key_count);
  NoteOutput(plan, plan->columns, plan->column_count);
  DescribeShape(plan);
}

// Fills the plan when `root` has an active mapping. The snapshot is a new one even in a REPEATABLE
// READ transaction: the trigger is seen by the catalog's snapshot, and its mapping has to be as
// well.
bool FillFromMapping(CapturePlan* plan, Relation relation, Oid root_oid, Relation mappings) {
  bool found = false;
  ScanKeyData by_relation;
  ScanKeyInit(&by_relation, kMappingRelation, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(root_oid));
  const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  SysScanDesc scan = systable_beginscan(mappings, InvalidOid, false, snapshot, 1, &by_relation);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple) && !found;
       tuple = systable_getnext(scan)) {
    bool is_null;
    if (!DatumGetBool(heap_getattr(tuple, kMappingActive, RelationGetDescr(mappings), &is_null)))
      continue;
    const bool is_partition = root_oid != RelationGetRelid(relation);
    const Relation root = is_partition ? table_open(root_oid, AccessShareLock) : relation;
    FillPlan(plan, relation, root, tuple, RelationGetDescr(mappings));
    if (is_partition) table_close(root, AccessShareLock);
    found = true;
  }
  systable_endscan(scan);
  UnregisterSnapshot(snapshot);
  return found;
}

CapturePlan* BuildPlan(Relation relation) {
  CapturePlan* plan = static_cast<CapturePlan*>(palloc0(sizeof(CapturePlan)));
  plan->relation = RelationGetRelid(relation);
  const Oid schema = get_namespace_oid("apex", false);
  const Relation mappings = table_open(get_relname_relid("mapping", schema), AccessShareLock);
  List* candidates = list_make1_oid(plan->relation);
  if (relation->rd_rel->relispartition) {
    candidates = list_concat(candidates, get_partition_ancestors(plan->relation));
  }
  ListCell* cell;
  foreach (cell, candidates) {
    if (FillFromMapping(plan, relation, lfirst_oid(cell), mappings)) break;
  }
  table_close(mappings, AccessShareLock);
  if (plan->attached()) plan->outbox = FindOutbox(schema);
  return plan;
}

}  // namespace

OutboxOids FindOutbox(Oid schema) {
  OutboxOids outbox{};
  outbox.sequence = get_relname_relid("outbox_seq", schema);
  for (int slot = 0; slot < kOutboxSlots; slot++) {
    outbox.slots[slot] = get_relname_relid(psprintf("outbox_%d", slot), schema);
  }
  return outbox;
}

// Somebody else's function of that name is none of ours.
Oid CaptureFunction() {
  static Oid function = InvalidOid;
  static uint64 changes = 0;
  static uint64 known_at = 0;
  if (changes == 0) {
    // Runs inside invalidation processing: it only counts, the next look is a new one.
    const SyscacheCallbackFunction count = [](Datum, int, uint32) { changes++; };
    CacheRegisterSyscacheCallback(PROCOID, count, Datum{0});
    CacheRegisterSyscacheCallback(NAMESPACEOID, count, Datum{0});
    changes = 1;
  }
  if (known_at == changes) return function;
  // Read before: a change that arrives meanwhile has to win.
  const uint64 now = changes;
  Oid found = InvalidOid;
  if (const Oid schema = get_namespace_oid("apex", true); OidIsValid(schema)) {
    found = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("capture"),
                            PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema));
  }
  const bool is_ours = OidIsValid(found) && getExtensionOfObject(ProcedureRelationId, found) ==
                                                get_extension_oid("apex_saga", true);
  function = is_ours ? found : InvalidOid;
  known_at = now;
  return function;
}

const CapturePlan* FindPlan(Relation relation) {
  if (plans == nullptr) MakePlanCache();
  const Oid oid = RelationGetRelid(relation);
  // Statements change one table, as a rule.
  static PlanEntry* last = nullptr;
  if (last != nullptr && last->relation == oid && last->valid) return last->plan;
  bool found;
  auto* entry = static_cast<PlanEntry*>(hash_search(plans, &oid, HASH_ENTER, &found));
  if (!found) {
    entry->valid = false;
    entry->context = nullptr;
    entry->plan = nullptr;
  }
  last = entry;
  if (entry->valid) return entry->plan;

  entry->plan = nullptr;
  if (entry->context != nullptr) MemoryContextDelete(entry->context);
  entry->context = nullptr;
  entry->context =
      AllocSetContextCreate(CacheMemoryContext, "apex capture plan", ALLOCSET_SMALL_SIZES);
  // Set first: an invalidation that arrives while the plan is built has to win.
  entry->valid = true;
  const MemoryContext caller = MemoryContextSwitchTo(entry->context);
  CapturePlan* plan = nullptr;
  PG_TRY();
  { plan = BuildPlan(relation); }
  PG_CATCH();
  {
    entry->valid = false;
    PG_RE_THROW();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(caller);
  entry->plan = plan;
  return plan;
}

}  // namespace apex::pg
