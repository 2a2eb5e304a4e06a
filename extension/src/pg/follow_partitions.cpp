// apex.capture_rows() and the event trigger apex.follow_partitions(): rows that join or leave an
// attached partitioned table together with their partition.
//
// No row trigger tells of them. A partition that is detached or dropped has its rows captured as
// deleted, before it goes; one that is attached has them captured as refreshed. Only the parse tree
// of the command names the partition while it is still, or already, part of the table.
#include "pg/attach.h"
#include "pg/capture.h"
#include "pg/capture_rows.h"
#include "pg/guard.h"
#include "pg/outbox_buffer.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace apex::pg {
namespace {

// A mapping alone is not enough: while a dump is restored over a database, the triggers are gone
// and the mapping is still there.
bool IsCaptured(Relation relation) {
  if (!FindPlan(relation)->attached() || relation->trigdesc == nullptr) return false;
  const Oid capture = CaptureFunction();
  for (int i = 0; i < relation->trigdesc->numtriggers; i++) {
    const Trigger& trigger = relation->trigdesc->triggers[i];
    if (trigger.tgfoid == capture) return trigger.tgenabled != TRIGGER_DISABLED;
  }
  return false;
}

}  // namespace

void CaptureRowsOf(Relation leaf, char op) {
  const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  TupleTableSlot* slot = table_slot_create(leaf, nullptr);
  TableScanDesc scan = table_beginscan(leaf, snapshot, 0, nullptr);
  const MemoryContext each_row = AllocSetContextCreate(
      CurrentMemoryContext, "apex rows of a partition", ALLOCSET_DEFAULT_SIZES);
  while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
    CHECK_FOR_INTERRUPTS();
    const MemoryContext caller = MemoryContextSwitchTo(each_row);
    const CapturePlan& plan = *FindPlan(leaf);
    bool should_free;
    const HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
    const RowValues row = TakeApart(tuple, RelationGetDescr(leaf));
    RowChange change{};
    change.op = op;
    change.command = GetCurrentCommandId(true);
    (op == kDeleted ? change.before : change.after) = row;
    CaptureChange(plan, change);
    MemoryContextSwitchTo(caller);
    MemoryContextReset(each_row);
  }
  MemoryContextDelete(each_row);
  table_endscan(scan);
  ExecDropSingleTupleTableSlot(slot);
  UnregisterSnapshot(snapshot);
}

void CaptureRows(Oid part, char op) {
  ListCell* cell;
  foreach (cell, find_all_inheritors(part, AccessExclusiveLock, nullptr)) {
    if (get_rel_relkind(lfirst_oid(cell)) != RELKIND_RELATION) continue;
    const Relation leaf = table_open(lfirst_oid(cell), NoLock);
    if (IsCaptured(leaf)) CaptureRowsOf(leaf, op);
    table_close(leaf, NoLock);
  }
  WriteIfCommitting();
}

namespace {

bool PartOfCaptured(Oid part) {
  const Relation relation = table_open(part, AccessShareLock);
  const bool captured = IsCaptured(relation);
  table_close(relation, NoLock);
  return captured;
}

bool OwnsSchema(Oid schema) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(NamespaceRelationId, schema, GetUserId());
#else
  return pg_namespace_ownercheck(schema, GetUserId());
#endif
}

// As the command itself will: whoever may not run it locks nothing, and the parent comes before its
// partition, as for everybody who reads them.
void CheckAndLockParent(const RangeVar* /*name*/, Oid part, Oid previous, void* /*argument*/) {
  if (!OidIsValid(part) || part == previous || !get_rel_relispartition(part)) return;
  if (!OwnsTable(part) && !OwnsSchema(get_rel_namespace(part))) {
    aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(part));
  }
  LockRelationOid(get_partition_parent(part, true), AccessExclusiveLock);
}

// The partition of this name, locked, if it is one that is captured.
Oid LockCapturedPart(const RangeVar* name) {
  const Oid seen = RangeVarGetRelid(name, NoLock, true);
  if (!OidIsValid(seen) || !get_rel_relispartition(seen)) return InvalidOid;
  const Oid part = RangeVarGetRelidExtended(name, AccessExclusiveLock, RVR_MISSING_OK,
                                            CheckAndLockParent, nullptr);
  if (!OidIsValid(part) || !get_rel_relispartition(part) || !PartOfCaptured(part))
    return InvalidOid;
  return part;
}

// Nothing happens in ALTER TABLE IF EXISTS of a parent that is not there.
void BeforeDetach(const RangeVar* parent, const PartitionCmd* command) {
  const Oid part = LockCapturedPart(command->name);
  if (!OidIsValid(part)) return;
  if (RangeVarGetRelid(parent, NoLock, true) != get_partition_parent(part, true)) return;
  if (command->concurrent) {
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot detach partition %s of an attached table concurrently",
                           get_rel_name(part)),
                    errdetail("Its rows are captured as deleted, while nobody changes them."),
                    errhint("Use DETACH PARTITION without CONCURRENTLY.")));
  }
  CaptureRows(part, kDeleted);
}

bool AncestorIn(const List* tables, Oid part) {
  ListCell* cell;
  foreach (cell, get_partition_ancestors(part)) {
    if (list_member_oid(tables, lfirst_oid(cell))) return true;
  }
  return false;
}

// What goes together with its partitioned table goes as any attached table does, unseen.
void BeforeDropTable(const DropStmt* statement) {
  List* dropped = NIL;
  ListCell* cell;
  foreach (cell, statement->objects) {
    const RangeVar* name = makeRangeVarFromNameList(lfirst_node(List, cell));
    dropped = lappend_oid(dropped, RangeVarGetRelid(name, NoLock, true));
  }
  foreach (cell, statement->objects) {
    const Oid part = LockCapturedPart(makeRangeVarFromNameList(lfirst_node(List, cell)));
    if (OidIsValid(part) && !AncestorIn(dropped, part)) CaptureRows(part, kDeleted);
  }
}

// The partitioned tables and partitions of these schemas, or of these owners.
List* PartitionsOf(AttrNumber attribute, const List* values) {
  List* found = NIL;
  const Relation classes = table_open(RelationRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(classes, InvalidOid, false, nullptr, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); HeapTupleIsValid(tuple);
       tuple = systable_getnext(scan)) {
    const auto* form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    const Oid value = attribute == Anum_pg_class_relowner ? form->relowner : form->relnamespace;
    if (form->relkind != RELKIND_PARTITIONED_TABLE &&
        !(form->relkind == RELKIND_RELATION && form->relispartition))
      continue;
    if (list_member_oid(values, value)) found = lappend_oid(found, form->oid);
  }
  systable_endscan(scan);
  table_close(classes, AccessShareLock);
  return found;
}

void BeforeDropOf(AttrNumber attribute, const List* values) {
  const List* dropped = PartitionsOf(attribute, values);
  ListCell* cell;
  foreach (cell, dropped) {
    const Oid part = lfirst_oid(cell);
    if (!get_rel_relispartition(part) || AncestorIn(dropped, part) || !PartOfCaptured(part))
      continue;
    LockRelationOid(get_partition_parent(part, true), AccessExclusiveLock);
    LockRelationOid(part, AccessExclusiveLock);
    CaptureRows(part, kDeleted);
  }
}

void BeforeDropSchema(const DropStmt* statement) {
  List* schemas = NIL;
  ListCell* cell;
  foreach (cell, statement->objects) {
    const Oid schema = get_namespace_oid(strVal(lfirst(cell)), true);
    if (OidIsValid(schema) && OwnsSchema(schema)) schemas = lappend_oid(schemas, schema);
  }
  BeforeDropOf(Anum_pg_class_relnamespace, schemas);
}

void BeforeDropOwned(const DropOwnedStmt* statement) {
  List* owners = NIL;
  ListCell* cell;
  foreach (cell, statement->roles) {
    const Oid role = get_rolespec_oid(lfirst_node(RoleSpec, cell), true);
    if (OidIsValid(role) && has_privs_of_role(GetUserId(), role))
      owners = lappend_oid(owners, role);
  }
  BeforeDropOf(Anum_pg_class_relowner, owners);
}

// These look at the catalog, and create and drop a trigger, which takes rights that the caller may
// not have.
void CallForPart(const char* function, Oid part) {
  const Oid argument = REGCLASSOID;
  const Oid oid = LookupFuncName(
      list_make2(makeString(pstrdup("apex")), makeString(pstrdup(function))), 1, &argument, false);
  // The command's own snapshot does not see what the command made.
  PushActiveSnapshot(GetLatestSnapshot());
  OidFunctionCall1(oid, ObjectIdGetDatum(part));
  PopActiveSnapshot();
}

void AfterCreate(const CreateStmt* statement) {
  if (statement->partbound == nullptr) return;
  const Oid part = RangeVarGetRelid(statement->relation, NoLock, false);
  if (PartOfCaptured(part)) CallForPart("admit_partition", part);
}

void AfterAttach(const PartitionCmd* command) {
  const Oid part = RangeVarGetRelid(command->name, NoLock, false);
  if (!PartOfCaptured(part)) return;
  CallForPart("admit_partition", part);
  CaptureRows(part, kRefreshed);
}

void AfterDetach(const PartitionCmd* command) {
  const Oid part = RangeVarGetRelid(command->name, NoLock, true);
  if (OidIsValid(part) && !get_rel_relispartition(part)) CallForPart("unfollow_truncate", part);
}

// Moving a partition is all that its ALTER TABLE does.
const AlterTableCmd* OnlyCommand(const AlterTableStmt* statement) {
  return linitial_node(AlterTableCmd, statement->cmds);
}

void Before(const Node* parsed) {
  if (IsA(parsed, DropStmt)) {
    const auto* statement = reinterpret_cast<const DropStmt*>(parsed);
    if (statement->removeType == OBJECT_TABLE) BeforeDropTable(statement);
    if (statement->removeType == OBJECT_SCHEMA) BeforeDropSchema(statement);
  } else if (IsA(parsed, DropOwnedStmt)) {
    BeforeDropOwned(reinterpret_cast<const DropOwnedStmt*>(parsed));
  } else if (IsA(parsed, AlterTableStmt)) {
    const auto* statement = reinterpret_cast<const AlterTableStmt*>(parsed);
    const AlterTableCmd* command = OnlyCommand(statement);
    if (statement->objtype != OBJECT_TABLE || command->subtype != AT_DetachPartition) return;
    BeforeDetach(statement->relation, castNode(PartitionCmd, command->def));
  }
}

void After(const Node* parsed) {
  if (IsA(parsed, CreateStmt) || IsA(parsed, CreateForeignTableStmt)) {
    // The one begins with the other.
    AfterCreate(reinterpret_cast<const CreateStmt*>(parsed));
  } else if (IsA(parsed, AlterTableStmt)) {
    const auto* statement = reinterpret_cast<const AlterTableStmt*>(parsed);
    const AlterTableCmd* command = OnlyCommand(statement);
    if (statement->objtype != OBJECT_TABLE) return;
    if (command->subtype == AT_AttachPartition) AfterAttach(castNode(PartitionCmd, command->def));
    if (command->subtype == AT_DetachPartition) AfterDetach(castNode(PartitionCmd, command->def));
  }
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_capture_rows) {
  LockRelationOid(PG_GETARG_OID(0), AccessExclusiveLock);
  apex::pg::CaptureRows(PG_GETARG_OID(0), PG_GETARG_CHAR(1));
  PG_RETURN_VOID();
}

APEX_FUNCTION(apex_follow_partitions) {
  if (!CALLED_AS_EVENT_TRIGGER(fcinfo)) {
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("apex.follow_partitions() can only be called by an event trigger")));
  }
  const auto* trigger = reinterpret_cast<const EventTriggerData*>(fcinfo->context);
  if (strcmp(trigger->event, "ddl_command_start") == 0) {
    apex::pg::Before(trigger->parsetree);
  } else {
    apex::pg::After(trigger->parsetree);
  }
  PG_RETURN_NULL();
}
