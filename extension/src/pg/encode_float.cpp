#include "pg/encode_float.h"

#include <algorithm>
#include <cmath>

extern "C" {
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "utils/builtins.h"
}

namespace apex::pg {
namespace {

// The short form of a stored numeric, utils/adt/numeric.c: a header of two bytes with sign, digits
// behind the point and weight, then digits of base 10000. It is what numeric_in would make, at a
// third of its cost; an embedding has hundreds of them.
constexpr uint16 kShort = 0x8000;
constexpr uint16 kShortNegative = 0x2000;
constexpr uint16 kShortWeightNegative = 0x0040;
constexpr int kShortScaleShift = 7;
constexpr int kShortScaleMax = 63;
constexpr int kShortWeightMax = 63;
constexpr int kShortWeightMin = -64;
constexpr int kDigitsOfFour = 6;  // 17 decimal digits, wherever the point is among them.

// `text` has room for a float8's, which is the longer one.
void WriteShortest(Oid type, Datum value, char* text) {
  if (type == FLOAT4OID) {
    float_to_shortest_decimal_buf(DatumGetFloat4(value), text);
  } else {
    double_to_shortest_decimal_buf(DatumGetFloat8(value), text);
  }
}

int FloorOfQuarter(int number) { return number >= 0 ? number / 4 : -((3 - number) / 4); }

// What the shortest text says: 0.d1d2d3... times ten to the power of `point`.
struct Decimal {
  char digits[DOUBLE_SHORTEST_DECIMAL_LEN];
  int count;
  int point;
  bool negative;
};

Decimal Parse(const char* text) {
  Decimal decimal{};
  if (*text == '-') {
    decimal.negative = true;
    text++;
  }
  bool fraction = false;
  for (; (*text >= '0' && *text <= '9') || *text == '.'; text++) {
    if (*text == '.') {
      fraction = true;
      continue;
    }
    if (decimal.count == 0 && *text == '0') {
      if (fraction) decimal.point--;
      continue;
    }
    decimal.digits[decimal.count++] = static_cast<char>(*text - '0');
    if (!fraction) decimal.point++;
  }
  if (*text == 'e') decimal.point += atoi(text + 1);
  while (decimal.count > 0 && decimal.digits[decimal.count - 1] == 0) decimal.count--;
  return decimal;
}

// NULL when it does not fit the short form.
Numeric WriteShort(const Decimal& decimal) {
  const int scale = std::max(1, decimal.count - decimal.point);
  const int weight = decimal.count == 0 ? 0 : FloorOfQuarter(decimal.point - 1);
  if (scale > kShortScaleMax || weight > kShortWeightMax || weight < kShortWeightMin)
    return nullptr;
  int16 digits[kDigitsOfFour] = {};
  const int before = 4 * (weight + 1) - decimal.point;  // Zeros before the first digit of its four.
  for (int i = 0; i < before + decimal.count; i++) {
    const int digit = i < before ? 0 : decimal.digits[i - before];
    digits[i / 4] = static_cast<int16>(digits[i / 4] * 10 + digit);
  }
  int count = decimal.count == 0 ? 0 : (before + decimal.count + 3) / 4;
  for (int i = before + decimal.count; i < 4 * count; i++)
    digits[i / 4] = static_cast<int16>(digits[i / 4] * 10);

  const bool negative = decimal.negative && decimal.count > 0;
  const uint16 header = static_cast<uint16>(
      kShort | (negative ? kShortNegative : 0) | scale << kShortScaleShift |
      (weight < 0 ? kShortWeightNegative : 0) | (weight & (kShortWeightNegative - 1)));
  const Size digits_bytes = sizeof(int16) * static_cast<Size>(count);
  const Size bytes = VARHDRSZ + sizeof(header) + digits_bytes;
  char* number = static_cast<char*>(palloc(bytes));
  SET_VARSIZE(number, bytes);
  memcpy(number + VARHDRSZ, &header, sizeof(header));
  memcpy(number + VARHDRSZ + sizeof(header), digits, digits_bytes);
  return reinterpret_cast<Numeric>(number);
}

Numeric ReadNumeric(const char* text, double value) {
  Datum number = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
                                     ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
  if (value == std::floor(value))
    number = DirectFunctionCall2(numeric_round, number, Int32GetDatum(1));
  return DatumGetNumeric(number);
}

}  // namespace

char* FloatText(Oid type, Datum value) {
  char* text = static_cast<char*>(palloc(DOUBLE_SHORTEST_DECIMAL_LEN));
  WriteShortest(type, value, text);
  return text;
}

Numeric FloatNumber(Oid type, Datum value) {
  char text[DOUBLE_SHORTEST_DECIMAL_LEN];
  WriteShortest(type, value, text);
  const Numeric number = WriteShort(Parse(text));
  if (number != nullptr) return number;
  return ReadNumeric(text, type == FLOAT4OID ? DatumGetFloat4(value) : DatumGetFloat8(value));
}

}  // namespace apex::pg
