// A row of apex.mapping and the jsonb it holds: what both capture and reading look up in it.
#pragma once

#include "pg/mapping.h"

namespace apex::pg {

// Columns of apex.mapping, in the order of 20_catalog.sql.
enum MappingAttribute : AttrNumber {
  kMappingId = 1,
  kMappingRelation,
  kMappingRelationOid,
  kMappingPipeline,
  kMappingActive,
  kMappingOnFailure,
  kMappingHandler,
  kMappingSpec,
  kMappingCreatedAt,
  kMappingAggregate,
};

/// The member of an object; NULL when there is none.
JsonbValue* Member(JsonbContainer* object, const char* name);

/// The object or array that is a member; NULL when there is none.
JsonbContainer* Child(JsonbContainer* object, const char* name);

/// Allocated. An ERROR when there is no such text.
char* TextMember(JsonbContainer* object, const char* name);

/// Lays out the names of these columns.
ObjectLayout LayOutNames(const PlanColumn* columns, int count);

}  // namespace apex::pg
