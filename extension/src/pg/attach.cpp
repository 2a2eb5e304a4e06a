// apex.attach and apex.detach: the caller's right to the table, checked as the caller.
//
// The rest is PL/pgSQL that runs as the extension's owner. It cannot check the caller itself,
// because inside a SECURITY DEFINER function nobody knows any more who called. The inner functions
// are revoked from PUBLIC; a call from here needs no EXECUTE right.
#include "pg/attach.h"

#include "pg/encode.h"
#include "pg/guard.h"
#include "pg/key_scan.h"

extern "C" {
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

namespace apex::pg {

bool OwnsTable(Oid table) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, table, GetUserId());
#else
  return pg_class_ownercheck(table, GetUserId());
#endif
}

namespace {

void CheckOwner(Oid table) {
  const char* name = get_rel_name(table);
  if (name == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                    errmsg("relation with OID %u does not exist", table)));
  }
  if (OwnsTable(table)) return;
  ereport(ERROR,
          (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of table %s", name),
           errdetail("Attaching and detaching a table creates and drops triggers on it."),
           errhint("Call it as the table's owner.")));
}

// Calls the function of schema apex with this call's own arguments, which its signature repeats.
Datum CallInner(FunctionCallInfo fcinfo, const char* name) {
  Oid* types;
  int count;
  get_func_signature(fcinfo->flinfo->fn_oid, &types, &count);
  const Oid inner = LookupFuncName(
      list_make2(makeString(pstrdup("apex")), makeString(pstrdup(name))), count, types, false);
  FmgrInfo function;
  fmgr_info(inner, &function);
  LOCAL_FCINFO(call, FUNC_MAX_ARGS);
  InitFunctionCallInfoData(*call, &function, static_cast<short>(count), InvalidOid, nullptr,
                           nullptr);
  for (int i = 0; i < count; i++) call->args[i] = fcinfo->args[i];
  return FunctionCallInvoke(call);
}

}  // namespace

void CheckTableGiven(FunctionCallInfo fcinfo) {
  if (!PG_ARGISNULL(0)) return;
  ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("relation cannot be NULL"),
                  errdetail("It names the table."), errhint("Write it as 'schema.table'.")));
}

void CallWithoutContext(FunctionCallInfo fcinfo, const char* inner) {
  const MemoryContext context = CurrentMemoryContext;
  PG_TRY();
  { CallInner(fcinfo, inner); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    ErrorData* error = CopyErrorData();
    FlushErrorState();
    if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTERNAL_ERROR) error->context = nullptr;
    ReThrowError(error);
  }
  PG_END_TRY();
}

namespace {

// The lock keeps the columns as they are from the first check to the end of the transaction.
void CallForOwnTable(FunctionCallInfo fcinfo, const char* inner) {
  CheckTableGiven(fcinfo);
  const Oid table = PG_GETARG_OID(0);
  CheckOwner(table);
  LockRelationOid(table, AccessShareLock);
  // It may have changed hands, or gone, before the lock was there.
  CheckOwner(table);
  CallWithoutContext(fcinfo, inner);
  CacheInvalidateRelcacheByRelid(table);
}

// A query would be planned, and planning runs functions out of the table's indexes and constraints
// with the rights of whoever asks: here those of the extension's owner.
int64 CountRows(Oid table) {
  const Relation root = table_open(table, AccessShareLock);
  const Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
  int64 rows = 0;
  ListCell* cell;
  foreach (cell, LeavesFrom(root, InvalidOid, AccessShareLock)) {
    const Relation leaf = table_open(lfirst_oid(cell), AccessShareLock);
    TupleTableSlot* slot = table_slot_create(leaf, nullptr);
    TableScanDesc scan = table_beginscan(leaf, snapshot, 0, nullptr);
    while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
      CHECK_FOR_INTERRUPTS();
      rows++;
    }
    table_endscan(scan);
    ExecDropSingleTupleTableSlot(slot);
    table_close(leaf, NoLock);
  }
  UnregisterSnapshot(snapshot);
  table_close(root, NoLock);
  return rows;
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_count_rows) { PG_RETURN_INT64(apex::pg::CountRows(PG_GETARG_OID(0))); }

APEX_FUNCTION(apex_attach) {
  apex::pg::CallForOwnTable(fcinfo, "attach_table");
  PG_RETURN_VOID();
}

APEX_FUNCTION(apex_detach) {
  apex::pg::CallForOwnTable(fcinfo, "detach_table");
  PG_RETURN_VOID();
}

APEX_FUNCTION(apex_alter) {
  apex::pg::CallForOwnTable(fcinfo, "alter_table");
  PG_RETURN_VOID();
}

APEX_FUNCTION(apex_column_kind) {
  PG_RETURN_TEXT_P(cstring_to_text(apex::pg::KindName(apex::pg::DescribeType(PG_GETARG_OID(0)))));
}

APEX_FUNCTION(apex_holds_embedding) {
  const apex::pg::EmbeddingKind kind = apex::pg::DescribeEmbedding(PG_GETARG_OID(0));
  if (kind == apex::pg::EmbeddingKind::kNone) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(kind == apex::pg::EmbeddingKind::kVector ? "vector" : "array"));
}
