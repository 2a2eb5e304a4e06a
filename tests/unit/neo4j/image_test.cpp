// Section 3a of the design, cell by cell, for the graph.
#include "stores/neo4j/image.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/store_error.h"
#include "stores/neo4j/packstream.h"

namespace apex::neo4j {
namespace {

using packstream::Decode;
using packstream::List;
using packstream::Structure;
using packstream::Value;
using ::testing::HasSubstr;

class ImageTest : public ::testing::Test {
 protected:
  Result<EncodedImage> Encode(const Column& column, const std::string& json) {
    const std::vector<Column> wanted{column};
    return encoder_.Encode(
        R"({"before": [{"x": 1}], ")" + column.name + "\": " + json + R"(, "after": null})", wanted,
        RowName{"public.t", "[1]"});
  }

  /// The value of a column of this kind whose image is `json`.
  Value Of(ColumnKind kind, const std::string& json, bool is_array = false) {
    Result<EncodedImage> image = Encode(Column{"c", kind, is_array}, json);
    EXPECT_TRUE(image.ok()) << Describe(image.error());
    std::string_view bytes = (*image)[0];
    std::optional<Value> value = Decode(bytes);
    EXPECT_TRUE(value.has_value() && bytes.empty());
    return value.value_or(Value{});
  }

  std::string Text(ColumnKind kind, const std::string& json, bool is_array = false) {
    const Value value = Of(kind, json, is_array);
    const auto* text = value.As<std::string>();
    EXPECT_NE(text, nullptr) << json;
    return text == nullptr ? "" : *text;
  }

  std::string ProblemOf(ColumnKind kind, const std::string& json, bool is_array = false) {
    Result<EncodedImage> image = Encode(Column{"c", kind, is_array}, json);
    if (image.ok()) return "";
    EXPECT_EQ(image.error().kind, ErrorKind::kPermanent);
    EXPECT_EQ(image.error().native_code, kUnencodable);
    EXPECT_THAT(image.error().message, HasSubstr("column c of row [1] of public.t"));
    return image.error().message;
  }

  ImageEncoder encoder_;
};

TEST_F(ImageTest, Keeps64BitIntegersExact) {
  EXPECT_EQ(*Of(ColumnKind::kInt, "9223372036854775807").As<int64_t>(), INT64_MAX);
  EXPECT_EQ(*Of(ColumnKind::kInt, "-9223372036854775808").As<int64_t>(), INT64_MIN);
  EXPECT_EQ(*Of(ColumnKind::kInt, "9007199254740993").As<int64_t>(), 9007199254740993);
}

TEST_F(ImageTest, MakesFloatsOfNumbersAndOfTheNamesOfWhatIsNone) {
  EXPECT_EQ(*Of(ColumnKind::kFloat, "0.1").As<double>(), 0.1);
  EXPECT_EQ(*Of(ColumnKind::kFloat, "3").As<double>(), 3.0);
  EXPECT_EQ(*Of(ColumnKind::kFloat, "1" + std::string(300, '0')).As<double>(), 1e300);
  EXPECT_EQ(*Of(ColumnKind::kFloat, "0." + std::string(323, '0') + "5").As<double>(), 5e-324);
  EXPECT_TRUE(std::isnan(*Of(ColumnKind::kFloat, "\"NaN\"").As<double>()));
  EXPECT_EQ(*Of(ColumnKind::kFloat, "\"Infinity\"").As<double>(), HUGE_VAL);
  EXPECT_EQ(*Of(ColumnKind::kFloat, "\"-Infinity\"").As<double>(), -HUGE_VAL);
}

TEST_F(ImageTest, MakesBooleans) {
  EXPECT_TRUE(*Of(ColumnKind::kBool, "true").As<bool>());
  EXPECT_FALSE(*Of(ColumnKind::kBool, "false").As<bool>());
}

TEST_F(ImageTest, MakesStringsOfTextUuidNumericAndOther) {
  EXPECT_EQ(Text(ColumnKind::kText, R"("a\"b\\c\n\u00fc 😀 `")"), "a\"b\\c\nü 😀 `");
  EXPECT_EQ(Text(ColumnKind::kUuid, R"("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")"),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
  EXPECT_EQ(Text(ColumnKind::kNumeric, R"("12345678901234567890.123456789")"),
            "12345678901234567890.123456789");
  EXPECT_EQ(Text(ColumnKind::kNumeric, R"("NaN")"), "NaN");
  EXPECT_EQ(Text(ColumnKind::kOther, R"x("[1,5)")x"), "[1,5)");
}

TEST_F(ImageTest, MakesJsonItsTextWithEveryDigit) {
  EXPECT_EQ(Text(ColumnKind::kJson, R"("{ \"a\":1 }")"), "{ \"a\":1 }");
  EXPECT_EQ(Text(ColumnKind::kJsonb, R"({"a": [1.50, 123456789012345678901234567890]})"),
            R"({"a": [1.50, 123456789012345678901234567890]})");
  EXPECT_EQ(Text(ColumnKind::kJsonb, "[1, null]"), "[1, null]");
  EXPECT_EQ(Text(ColumnKind::kJsonb, "\"s\""), "\"s\"");
  EXPECT_EQ(Text(ColumnKind::kJsonb, "1.0"), "1.0");
}

TEST_F(ImageTest, MakesTimesOfEachKind) {
  const Value zoned = Of(ColumnKind::kTimestamptz, R"("2022-02-22T19:22:22.123456Z")");
  ASSERT_NE(zoned.As<Structure>(), nullptr);
  EXPECT_EQ(zoned.As<Structure>()->tag, 'I');
  EXPECT_EQ(*zoned.As<Structure>()->fields[0].As<int64_t>(), 1645557742);
  EXPECT_EQ(*zoned.As<Structure>()->fields[1].As<int64_t>(), 123456000);
  EXPECT_EQ(*zoned.As<Structure>()->fields[2].As<int64_t>(), 0);
  EXPECT_EQ(Of(ColumnKind::kTimestamp, R"("2022-02-22T19:22:22")").As<Structure>()->tag, 'd');
  EXPECT_EQ(Of(ColumnKind::kDate, R"("2022-02-22")").As<Structure>()->tag, 'D');
}

TEST_F(ImageTest, MakesInstantsTheOldWayForBolt4) {
  encoder_.set_utc_datetimes(false);
  EXPECT_EQ(Of(ColumnKind::kTimestamptz, R"("2022-02-22T19:22:22Z")").As<Structure>()->tag, 'F');
}

TEST_F(ImageTest, MakesListsOfArrays) {
  const Value numbers = Of(ColumnKind::kInt, "[1, 2, 3]", true);
  ASSERT_NE(numbers.As<List>(), nullptr);
  EXPECT_EQ(numbers.As<List>()->size(), 3u);
  EXPECT_EQ(*numbers.As<List>()->back().As<int64_t>(), 3);
  EXPECT_TRUE(Of(ColumnKind::kText, "[]", true).As<List>()->empty());
  EXPECT_EQ(*Of(ColumnKind::kFloat, "[1, \"NaN\"]", true).As<List>()->front().As<double>(), 1.0);
  EXPECT_EQ(
      Of(ColumnKind::kDate, R"(["2022-02-22"])", true).As<List>()->front().As<Structure>()->tag,
      'D');
  EXPECT_EQ(
      *Of(ColumnKind::kJsonb, R"([{"a": [1]}, [2]])", true).As<List>()->back().As<std::string>(),
      "[2]");
}

TEST_F(ImageTest, MakesArraysWithNullsOrArraysInsideTheirJsonText) {
  EXPECT_EQ(Text(ColumnKind::kInt, "[1, null, 3]", true), "[1, null, 3]");
  EXPECT_EQ(Text(ColumnKind::kText, R"([["a", "b"], ["c", "d"]])", true),
            R"([["a", "b"], ["c", "d"]])");
  EXPECT_EQ(Text(ColumnKind::kText, R"(["a\"]", null])", true), R"(["a\"]", null])");
}

TEST_F(ImageTest, FindsTheColumnsBehindAnArrayThatBecameText) {
  const std::vector<Column> wanted{{"b", ColumnKind::kInt, false}, {"a", ColumnKind::kInt, true}};
  Result<EncodedImage> image =
      encoder_.Encode(R"({"a": [[1, 2], [3, null]], "x": {"b": 9}, "b": 7})", wanted, {"t", "[1]"});
  ASSERT_TRUE(image.ok());
  EXPECT_EQ((*image)[0], "\x07");
  EXPECT_EQ((*image)[1].substr(2), "[[1, 2], [3, null]]");
}

TEST_F(ImageTest, HasNothingForNullAndForAColumnThatIsNotThere) {
  EXPECT_TRUE((*Encode(Column{"c", ColumnKind::kInt, false}, "null"))[0].empty());
  const std::vector<Column> wanted{{"missing", ColumnKind::kInt, false}};
  Result<EncodedImage> image = encoder_.Encode("{}", wanted, {"t", "[1]"});
  ASSERT_TRUE(image.ok());
  EXPECT_TRUE((*image)[0].empty());
  std::string bytes;
  image->AppendTo(bytes, 0);
  EXPECT_EQ(bytes, "\xC0");
}

TEST_F(ImageTest, FindsAColumnWhoseNameIsEscapedInTheImage) {
  const std::vector<Column> wanted{{"q\"\\ü", ColumnKind::kInt, false}};
  Result<EncodedImage> image = encoder_.Encode(R"({"q\"\\ü": 5})", wanted, {"t", "[1]"});
  ASSERT_TRUE(image.ok());
  EXPECT_EQ((*image)[0], "\x05");
}

TEST_F(ImageTest, NamesColumnAndRowOfAValueTheGraphCannotHold) {
  EXPECT_THAT(ProblemOf(ColumnKind::kDate, "\"infinity\""), HasSubstr("infinity"));
  EXPECT_THAT(ProblemOf(ColumnKind::kTimestamp, "\"-infinity\""), HasSubstr("-infinity"));
  EXPECT_THAT(ProblemOf(ColumnKind::kTimestamptz, R"(["infinity"])", true), HasSubstr("infinity"));
  EXPECT_NE(ProblemOf(ColumnKind::kInt, "9223372036854775808"), "");
  EXPECT_NE(ProblemOf(ColumnKind::kInt, "1.5"), "");
  EXPECT_NE(ProblemOf(ColumnKind::kTimestamp, "\"yesterday\""), "");
}

TEST_F(ImageTest, LeavesValuesOfColumnsNobodyWantsAlone) {
  EXPECT_TRUE(encoder_.Encode(R"({"due": "infinity"})", std::vector<Column>{}, {"t", "[1]"}).ok());
}

TEST_F(ImageTest, ReadsKeysWhoseValuesAreNumbersOrText) {
  const std::vector<Column> wanted{{"a", ColumnKind::kInt, false},
                                   {"b", ColumnKind::kText, false},
                                   {"c", ColumnKind::kBool, false},
                                   {"d", ColumnKind::kDate, false}};
  Result<EncodedImage> key =
      encoder_.EncodeKey(R"([9007199254740993,"x","true","2022-02-22"])", wanted, {"t", "k"});
  ASSERT_TRUE(key.ok()) << Describe(key.error());
  EXPECT_EQ((*key)[1], "\x81x");
  EXPECT_EQ((*key)[2], "\xC3");
  std::string_view number = (*key)[0];
  EXPECT_EQ(*Decode(number)->As<int64_t>(), 9007199254740993);
}

TEST_F(ImageTest, RefusesAKeyOfAnotherShape) {
  const std::vector<Column> wanted{{"a", ColumnKind::kInt, false}};
  for (const char* key : {"[]", "[1,2]", "[null]", "{}", "[\"x\"]", "["}) {
    Result<EncodedImage> encoded = encoder_.EncodeKey(key, wanted, {"t", key});
    ASSERT_FALSE(encoded.ok()) << key;
    EXPECT_EQ(encoded.error().native_code, kUnencodable);
  }
}

}  // namespace
}  // namespace apex::neo4j
