#include "pg/owner.h"

#include "pg/capture.h"
#include "pg/guard.h"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace apex::pg {

Caller BecomeOwner(Oid table) {
  HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
  if (!HeapTupleIsValid(tuple)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                    errmsg("relation with OID %u does not exist", table)));
  }
  const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
  ReleaseSysCache(tuple);
  Caller caller{};
  caller.settings = NewGUCNestLevel();
  GetUserIdAndSecContext(&caller.user, &caller.security_context);
  SetUserIdAndSecContext(owner, caller.security_context | SECURITY_RESTRICTED_OPERATION);
  return caller;
}

void ReturnTo(const Caller& caller) {
  AtEOXact_GUC(false, caller.settings);
  SetUserIdAndSecContext(caller.user, caller.security_context);
}

namespace {

const Jsonb* EncodeWhole(Oid table, Datum row) {
  HeapTupleHeader header = DatumGetHeapTupleHeader(row);
  HeapTupleData tuple{};
  tuple.t_len = HeapTupleHeaderGetDatumLength(header);
  ItemPointerSetInvalid(&tuple.t_self);
  tuple.t_data = header;
  const Relation relation = table_open(table, AccessShareLock);
  const CapturePlan& plan = *FindPlan(relation);
  if (!plan.attached()) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("table %s is not attached", RelationGetRelationName(relation))));
  }
  const RowImage image = EncodeRow(plan, TakeApart(&tuple, RelationGetDescr(relation)));
  if (image.error != nullptr) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("a row of table %s cannot be encoded: %s",
                           RelationGetRelationName(relation), image.error)));
  }
  table_close(relation, AccessShareLock);
  return image.image;
}

// NULL when the command returns no row of `table`. The image is of `context`.
const Jsonb* ImageOfFirstRow(Oid table, MemoryContext context) {
  if (SPI_tuptable == nullptr || SPI_processed == 0) return nullptr;
  const TupleDesc descriptor = SPI_tuptable->tupdesc;
  if (descriptor->natts != 1 || SPI_gettypeid(descriptor, 1) != get_rel_type_id(table)) {
    return nullptr;
  }
  bool is_null;
  const Datum row = SPI_getbinval(SPI_tuptable->vals[0], descriptor, 1, &is_null);
  if (is_null) return nullptr;
  const MemoryContext caller = MemoryContextSwitchTo(context);
  const Jsonb* image = EncodeWhole(table, row);
  MemoryContextSwitchTo(caller);
  return image;
}

const Jsonb* RunAsOwner(Oid table, const char* command) {
  const MemoryContext context = CurrentMemoryContext;
  const Caller caller = BecomeOwner(table);
  SPI_connect();
  if (const int result = SPI_execute(command, false, 0); result < 0) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                    errmsg("apex_saga: %s", SPI_result_code_string(result))));
  }
  const Jsonb* image = ImageOfFirstRow(table, context);
  SPI_finish();
  ReturnTo(caller);
  return image;
}

}  // namespace
}  // namespace apex::pg

APEX_FUNCTION(apex_as_owner) {
  const Jsonb* image =
      apex::pg::RunAsOwner(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
  if (image == nullptr) PG_RETURN_NULL();
  PG_RETURN_JSONB_P(const_cast<Jsonb*>(image));
}
