#include "pg/encode_jsonb.h"

#include <algorithm>

extern "C" {
#include "utils/numeric.h"
}

namespace apex::pg {
namespace {

Size BytesOf(const JsonbValue& value) {
  switch (value.type) {
    case jbvString: return static_cast<Size>(value.val.string.len);
    case jbvNumeric: return VARSIZE_ANY(value.val.numeric);
    case jbvBinary: return static_cast<Size>(value.val.binary.len);
    default: return 0;
  }
}

const void* DataOf(const JsonbValue& value) {
  switch (value.type) {
    case jbvString: return value.val.string.val;
    case jbvNumeric: return value.val.numeric;
    default: return value.val.binary.data;
  }
}

JEntry TypeOf(const JsonbValue& value) {
  switch (value.type) {
    case jbvNull: return JENTRY_ISNULL;
    case jbvBool: return value.val.boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
    case jbvString: return JENTRY_ISSTRING;
    case jbvNumeric: return JENTRY_ISNUMERIC;
    default: return JENTRY_ISCONTAINER;
  }
}

bool IsAligned(const JsonbValue& value) {
  return value.type == jbvNumeric || value.type == jbvBinary;
}

// An entry holds the length of its child, and every JB_OFFSET_STRIDE-th the offset of its end.
JEntry MakeEntry(int index, JEntry type, Size length, Size end) {
  if (index % JB_OFFSET_STRIDE != 0) return type | static_cast<JEntry>(length);
  return type | static_cast<JEntry>(end) | JENTRY_HAS_OFF;
}

// A container that is being filled: entries from one end, the children's bytes behind them.
struct Container {
  Jsonb* jsonb;
  int entries;
  char* data;
  Size used;

  void Append(const JsonbValue& value) {
    const Size start = used;
    if (IsAligned(value)) {
      while (used % sizeof(JEntry) != 0) data[used++] = '\0';
    }
    const Size bytes = BytesOf(value);
    if (bytes != 0) memcpy(data + used, DataOf(value), bytes);
    used += bytes;
    jsonb->root.children[entries] = MakeEntry(entries, TypeOf(value), used - start, used);
    entries++;
  }

  const Jsonb* Finish() {
    SET_VARSIZE(jsonb, static_cast<Size>(data - reinterpret_cast<char*>(jsonb)) + used);
    return jsonb;
  }
};

// The children's bytes begin aligned: header and entries are words of four bytes.
Container Allocate(uint32 header, int entries, Size bytes_max) {
  const Size head = offsetof(Jsonb, root.children) + sizeof(JEntry) * static_cast<Size>(entries);
  Container container{};
  container.jsonb = static_cast<Jsonb*>(palloc(head + bytes_max));
  container.jsonb->root.header = header;
  container.data = reinterpret_cast<char*>(container.jsonb) + head;
  return container;
}

Size BytesMax(const JsonbValue* values, int count) {
  Size bytes = 0;
  for (int i = 0; i < count; i++) bytes += BytesOf(values[i]) + sizeof(JEntry);
  return bytes;
}

}  // namespace

ObjectLayout LayOut(const char* const* names, int count) {
  int* order = static_cast<int*>(palloc(sizeof(int) * static_cast<Size>(count + 1)));
  for (int i = 0; i < count; i++) order[i] = i;
  // Shorter keys come first.
  std::sort(order, order + count, [names](int a, int b) {
    const Size left = strlen(names[a]), right = strlen(names[b]);
    return left != right ? left < right : memcmp(names[a], names[b], left) < 0;
  });
  Size bytes_length = 0;
  for (int i = 0; i < count; i++) bytes_length += strlen(names[i]);
  char* bytes = static_cast<char*>(palloc(bytes_length + 1));
  JEntry* entries = static_cast<JEntry*>(palloc(sizeof(JEntry) * static_cast<Size>(count + 1)));
  Size used = 0;
  for (int i = 0; i < count; i++) {
    const Size length = strlen(names[order[i]]);
    memcpy(bytes + used, names[order[i]], length);
    used += length;
    entries[i] = MakeEntry(i, JENTRY_ISSTRING, length, used);
  }
  return {count, order, entries, bytes, static_cast<uint32>(bytes_length)};
}

const Jsonb* BuildObject(const ObjectLayout& layout, const JsonbValue* values) {
  const Size bytes_max = layout.bytes_length + BytesMax(values, layout.count);
  Container object =
      Allocate(JB_FOBJECT | static_cast<uint32>(layout.count), 2 * layout.count, bytes_max);
  memcpy(object.jsonb->root.children, layout.entries,
         sizeof(JEntry) * static_cast<Size>(layout.count));
  memcpy(object.data, layout.bytes, layout.bytes_length);
  object.entries = layout.count;
  object.used = layout.bytes_length;
  for (int i = 0; i < layout.count; i++) object.Append(values[layout.order[i]]);
  return object.Finish();
}

const Jsonb* BuildArray(const JsonbValue* values, int count) {
  Container array =
      Allocate(JB_FARRAY | static_cast<uint32>(count), count, BytesMax(values, count));
  for (int i = 0; i < count; i++) array.Append(values[i]);
  return array.Finish();
}

}  // namespace apex::pg
