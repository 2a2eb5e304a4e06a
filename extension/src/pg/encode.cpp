#include "pg/encode.h"

#include "pg/encode_float.h"
#include "pg/encode_jsonb.h"

extern "C" {
#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
}

namespace apex::pg {
namespace {

// What a value costs inside a jsonb besides its bytes: its entry, alignment, and the header of a
// number.
constexpr Size kValueOverheadBytes = 16;
constexpr Size kUuidTextBytes = 36;
constexpr Size kTimeTextBytesMax = 64;

Kind KindOf(Oid type) {
  switch (type) {
    case BOOLOID: return Kind::kBool;
    case INT2OID:
    case INT4OID:
    case INT8OID: return Kind::kInt;
    case FLOAT4OID:
    case FLOAT8OID: return Kind::kFloat;
    case NUMERICOID: return Kind::kNumeric;
    case UUIDOID: return Kind::kUuid;
    case TEXTOID:
    case VARCHAROID:
    case BPCHAROID: return Kind::kText;
    case JSONOID: return Kind::kJson;
    case JSONBOID: return Kind::kJsonb;
    case TIMESTAMPTZOID: return Kind::kTimestamptz;
    case TIMESTAMPOID: return Kind::kTimestamp;
    case DATEOID: return Kind::kDate;
    default: return Kind::kOther;
  }
}

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kBool: return "bool";
    case Kind::kInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kNumeric: return "numeric";
    case Kind::kUuid: return "uuid";
    case Kind::kText: return "text";
    case Kind::kJson: return "json";
    case Kind::kJsonb: return "jsonb";
    case Kind::kTimestamptz: return "timestamptz";
    case Kind::kTimestamp: return "timestamp";
    case Kind::kDate: return "date";
    case Kind::kOther: break;
  }
  return "other";
}

bool TakeRoom(JsonWriter* writer, Size bytes) {
  writer->bytes += bytes + kValueOverheadBytes;
  if (writer->bytes <= kImageBytesMax) return true;
  writer->problem = psprintf("the row is larger than %zu MB", kImageBytesMax / (1024UL * 1024));
  return false;
}

bool Push(JsonWriter* writer, JsonbValue* value) {
  if (writer->nested != nullptr) {
    pushJsonbValue(&writer->nested, WJB_ELEM, value);
  } else {
    writer->values[writer->count++] = *value;
  }
  return true;
}

bool PushNull(JsonWriter* writer) {
  if (!TakeRoom(writer, 0)) return false;
  JsonbValue json;
  json.type = jbvNull;
  return Push(writer, &json);
}

bool PushBool(JsonWriter* writer, bool value) {
  if (!TakeRoom(writer, 0)) return false;
  JsonbValue json;
  json.type = jbvBool;
  json.val.boolean = value;
  return Push(writer, &json);
}

bool PushNumber(JsonWriter* writer, Numeric number) {
  if (!TakeRoom(writer, VARSIZE_ANY(number))) return false;
  JsonbValue json;
  json.type = jbvNumeric;
  json.val.numeric = number;
  return Push(writer, &json);
}

// `text` has to stay where it is until the image is finished.
bool PushString(JsonWriter* writer, const char* text, Size length) {
  if (!TakeRoom(writer, length)) return false;
  // Only here can a database hold bytes that no client encoding will take.
  if (GetDatabaseEncoding() == PG_SQL_ASCII &&
      !pg_verify_mbstr(PG_UTF8, text, static_cast<int>(length), true)) {
    writer->problem = "the text is not valid UTF-8";
    return false;
  }
  JsonbValue json;
  json.type = jbvString;
  json.val.string.val = const_cast<char*>(text);
  json.val.string.len = static_cast<int>(length);
  return Push(writer, &json);
}

bool PushString(JsonWriter* writer, const char* text) {
  return PushString(writer, text, strlen(text));
}

bool PushVarlenaText(JsonWriter* writer, Datum value) {
  if (toast_raw_datum_size(value) > kImageBytesMax) return TakeRoom(writer, kImageBytesMax);
  text* string = DatumGetTextPP(value);
  return PushString(writer, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

int64 IntegerOf(Oid type, Datum value) {
  switch (type) {
    case INT2OID: return DatumGetInt16(value);
    case INT4OID: return DatumGetInt32(value);
    default: return DatumGetInt64(value);
  }
}

bool PushFloat(JsonWriter* writer, Oid type, Datum value) {
  const double number = type == FLOAT4OID ? DatumGetFloat4(value) : DatumGetFloat8(value);
  if (!std::isfinite(number)) return PushString(writer, FloatText(type, value));
  return PushNumber(writer, FloatNumber(type, value));
}

// Years beyond four digits and before year 1 (astronomical: 1 BC is 0000) are written with as many
// digits as they need. Returns the end of what it wrote.
char* WriteDate(char* buffer, int year, int month, int day) {
  if (year < 0) *buffer++ = '-';
  buffer = pg_ultostr_zeropad(buffer, static_cast<uint32>(year < 0 ? -year : year), 4);
  *buffer++ = '-';
  buffer = pg_ultostr_zeropad(buffer, static_cast<uint32>(month), 2);
  *buffer++ = '-';
  return pg_ultostr_zeropad(buffer, static_cast<uint32>(day), 2);
}

char* WriteTime(char* buffer, const pg_tm& tm, fsec_t microseconds) {
  *buffer++ = 'T';
  buffer = pg_ultostr_zeropad(buffer, static_cast<uint32>(tm.tm_hour), 2);
  *buffer++ = ':';
  buffer = pg_ultostr_zeropad(buffer, static_cast<uint32>(tm.tm_min), 2);
  *buffer++ = ':';
  buffer = pg_ultostr_zeropad(buffer, static_cast<uint32>(tm.tm_sec), 2);
  *buffer++ = '.';
  return pg_ultostr_zeropad(buffer, static_cast<uint32>(microseconds), 6);
}

const char* DateText(DateADT date) {
  if (DATE_IS_NOBEGIN(date)) return "-infinity";
  if (DATE_IS_NOEND(date)) return "infinity";
  int year, month, day;
  j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
  char* text = static_cast<char*>(palloc(kTimeTextBytesMax));
  *WriteDate(text, year, month, day) = '\0';
  return text;
}

// timestamptz is stored in UTC, so that both types differ only in the suffix. NULL for a value
// outside the type's range.
const char* TimestampText(Timestamp timestamp, const char* suffix) {
  if (TIMESTAMP_IS_NOBEGIN(timestamp)) return "-infinity";
  if (TIMESTAMP_IS_NOEND(timestamp)) return "infinity";
  struct pg_tm tm;
  fsec_t microseconds;
  if (timestamp2tm(timestamp, nullptr, &tm, &microseconds, nullptr, nullptr) != 0) return nullptr;
  char* text = static_cast<char*>(palloc(kTimeTextBytesMax));
  char* end = WriteDate(text, tm.tm_year, tm.tm_mon, tm.tm_mday);
  // NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.strcpy): there is room for it
  strcpy(WriteTime(end, tm, microseconds), suffix);
  return text;
}

char* UuidText(Datum value) {
  static constexpr char kHex[] = "0123456789abcdef";
  char* text = static_cast<char*>(palloc(kUuidTextBytes + 1));
  char* out = text;
  for (int i = 0; i < UUID_LEN; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
    const unsigned char byte = DatumGetUUIDP(value)->data[i];
    *out++ = kHex[byte >> 4];
    *out++ = kHex[byte & 0x0f];
  }
  *out = '\0';
  return text;
}

bool PushTimestamp(JsonWriter* writer, Timestamp timestamp, const char* suffix) {
  const char* text = TimestampText(timestamp, suffix);
  if (text != nullptr) return PushString(writer, text);
  writer->problem = "the timestamp is out of range";
  return false;
}

bool PushJsonb(JsonWriter* writer, Datum value) {
  if (toast_raw_datum_size(value) > kImageBytesMax) return TakeRoom(writer, kImageBytesMax);
  Jsonb* jsonb = DatumGetJsonbP(value);
  if (!TakeRoom(writer, VARSIZE(jsonb))) return false;
  JsonbValue json;
  if (JB_ROOT_IS_SCALAR(jsonb)) {
    JsonbIterator* iterator = JsonbIteratorInit(&jsonb->root);
    JsonbIteratorNext(&iterator, &json, true);  // the array that a scalar is stored in
    JsonbIteratorNext(&iterator, &json, true);
  } else {
    json.type = jbvBinary;
    json.val.binary.data = &jsonb->root;
    json.val.binary.len = static_cast<int>(VARSIZE(jsonb) - VARHDRSZ);
  }
  return Push(writer, &json);
}

bool PushOther(JsonWriter* writer, const ValueType& type, Datum value) {
  if (type.length == -1 && toast_raw_datum_size(value) > kImageBytesMax)
    return TakeRoom(writer, kImageBytesMax);
  return PushString(writer, OidOutputFunctionCall(type.output, value));
}

bool PushScalar(JsonWriter* writer, const ValueType& type, Datum value) {
  switch (type.kind) {
    case Kind::kBool: return PushBool(writer, DatumGetBool(value));
    case Kind::kInt: return PushNumber(writer, int64_to_numeric(IntegerOf(type.type, value)));
    case Kind::kFloat: return PushFloat(writer, type.type, value);
    case Kind::kNumeric:
      return PushString(writer, DatumGetCString(DirectFunctionCall1(numeric_out, value)));
    case Kind::kUuid: return PushString(writer, UuidText(value), kUuidTextBytes);
    case Kind::kText:
    case Kind::kJson: return PushVarlenaText(writer, value);
    case Kind::kJsonb: return PushJsonb(writer, value);
    case Kind::kTimestamptz: return PushTimestamp(writer, DatumGetTimestampTz(value), "Z");
    case Kind::kTimestamp: return PushTimestamp(writer, DatumGetTimestamp(value), "");
    case Kind::kDate: return PushString(writer, DateText(DatumGetDateADT(value)));
    case Kind::kOther: break;
  }
  return PushOther(writer, type, value);
}

struct ArrayElements {
  Datum* values;
  bool* nulls;
  int count;
  int next;
};

// The array becomes one value of what is around it.
bool PushFinished(JsonWriter* writer, const Jsonb* array) {
  JsonbValue json;
  json.type = jbvBinary;
  json.val.binary.data = const_cast<JsonbContainer*>(&array->root);
  json.val.binary.len = static_cast<int>(VARSIZE(array) - VARHDRSZ);
  return Push(writer, &json);
}

// An array of one dimension, most arrays, in one piece.
bool PushFlat(JsonWriter* writer, const ValueType& type, const ArrayElements& elements) {
  JsonWriter flat = StartWriting(elements.count);
  flat.bytes = writer->bytes;
  for (int i = 0; i < elements.count; i++) {
    const bool done =
        elements.nulls[i] ? PushNull(&flat) : PushScalar(&flat, type, elements.values[i]);
    writer->problem = flat.problem;
    if (!done) return false;
  }
  writer->bytes = flat.bytes;
  return PushFinished(writer, BuildArray(flat.values, elements.count));
}

// One dimension of an array; inner dimensions are arrays of their own.
bool PushDimension(JsonWriter* writer, const ValueType& type, const ArrayType* array, int dimension,
                   ArrayElements* elements) {
  const bool innermost = dimension + 1 == ARR_NDIM(array);
  pushJsonbValue(&writer->nested, WJB_BEGIN_ARRAY, nullptr);
  for (int i = 0; i < ARR_DIMS(array)[dimension]; i++) {
    if (!innermost) {
      if (!TakeRoom(writer, 0) || !PushDimension(writer, type, array, dimension + 1, elements))
        return false;
      continue;
    }
    const int element = elements->next++;
    const bool done = elements->nulls[element]
                          ? PushNull(writer)
                          : PushScalar(writer, type, elements->values[element]);
    if (!done) return false;
  }
  JsonbValue* finished = pushJsonbValue(&writer->nested, WJB_END_ARRAY, nullptr);
  if (dimension > 0) return true;
  writer->nested = nullptr;
  return PushFinished(writer, JsonbValueToJsonb(finished));
}

bool PushArray(JsonWriter* writer, const ValueType& type, Datum value) {
  if (toast_raw_datum_size(value) > kImageBytesMax) return TakeRoom(writer, kImageBytesMax);
  ArrayType* array = DatumGetArrayTypeP(value);
  // A bitmap of NULLs takes an eighth of a byte each; the image does not, so that the count is
  // checked as well.
  const Size count = static_cast<Size>(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)));
  if (count > kImageBytesMax / kValueOverheadBytes) return TakeRoom(writer, kImageBytesMax);
  ArrayElements elements{};
  // The array's own element type, which `type` is not when it is a domain.
  deconstruct_array(array, ARR_ELEMTYPE(array), type.length, type.by_value, type.alignment,
                    &elements.values, &elements.nulls, &elements.count);
  if (ARR_NDIM(array) > 1) return PushDimension(writer, type, array, 0, &elements);
  return TakeRoom(writer, 0) && PushFlat(writer, type, elements);
}

}  // namespace

bool ValueType::needs_guard() const {
  if (!needs_output_function()) return false;
  return type >= FirstNormalObjectId && get_typtype(type) != TYPTYPE_ENUM;
}

ValueType DescribeType(Oid type) {
  ValueType described{};
  const Oid base = getBaseType(type);
  const Oid element = get_element_type(base);
  described.is_array = OidIsValid(element);
  described.type = described.is_array ? getBaseType(element) : base;
  described.kind = KindOf(described.type);
  get_typlenbyvalalign(described.type, &described.length, &described.by_value,
                       &described.alignment);
  bool is_varlena;
  getTypeOutputInfo(described.type, &described.output, &is_varlena);
  return described;
}

const char* KindName(const ValueType& type) {
  return type.is_array ? psprintf("%s[]", NameOf(type.kind)) : pstrdup(NameOf(type.kind));
}

JsonWriter StartWriting(int values_max) {
  JsonWriter writer{};
  writer.values =
      static_cast<JsonbValue*>(palloc(sizeof(JsonbValue) * static_cast<Size>(values_max + 1)));
  return writer;
}

bool PushValue(JsonWriter* writer, const ValueType& type, Datum value, bool is_null) {
  if (is_null) return PushNull(writer);
  if (type.is_array) return PushArray(writer, type, value);
  return PushScalar(writer, type, value);
}

bool PushKeyValue(JsonWriter* writer, const ValueType& type, Datum value, bool is_null) {
  if (is_null || type.is_array) return PushValue(writer, type, value, is_null);
  switch (type.kind) {
    case Kind::kBool: return PushString(writer, DatumGetBool(value) ? "true" : "false");
    case Kind::kFloat: return PushString(writer, FloatText(type.type, value));
    case Kind::kJsonb: {
      Jsonb* jsonb = DatumGetJsonbP(value);
      return PushString(writer,
                        JsonbToCString(nullptr, &jsonb->root, static_cast<int>(VARSIZE(jsonb))));
    }
    default: return PushScalar(writer, type, value);
  }
}

int PinOutputSettings() {
  const int level = NewGUCNestLevel();
  const struct {
    const char* name;
    const char* value;
  } settings[] = {{"bytea_output", "hex"},     {"datestyle", "ISO, YMD"},
                  {"extra_float_digits", "1"}, {"intervalstyle", "postgres"},
                  {"lc_monetary", "C"},        {"quote_all_identifiers", "off"},
                  {"search_path", ""},         {"timezone", "UTC"}};
  for (const auto& setting : settings) {
    set_config_option(setting.name, setting.value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                      true, 0, false);
  }
  return level;
}

void RestoreOutputSettings(int level) { AtEOXact_GUC(true, level); }

}  // namespace apex::pg
