#include "pg/mapping_spec.h"

namespace apex::pg {

JsonbValue* Member(JsonbContainer* object, const char* name) {
  return getKeyJsonValueFromContainer(object, name, static_cast<int>(strlen(name)), nullptr);
}

JsonbContainer* Child(JsonbContainer* object, const char* name) {
  JsonbValue* value = Member(object, name);
  return value != nullptr && value->type == jbvBinary ? value->val.binary.data : nullptr;
}

char* TextMember(JsonbContainer* object, const char* name) {
  JsonbValue* value = Member(object, name);
  if (value == nullptr || value->type != jbvString) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("apex.mapping.spec has no text member \"%s\"", name)));
  }
  return pnstrdup(value->val.string.val, value->val.string.len);
}

ObjectLayout LayOutNames(const PlanColumn* columns, int count) {
  const char** names =
      static_cast<const char**>(palloc(sizeof(char*) * static_cast<Size>(count + 1)));
  for (int i = 0; i < count; i++) names[i] = columns[i].name;
  return LayOut(names, count);
}

}  // namespace apex::pg
