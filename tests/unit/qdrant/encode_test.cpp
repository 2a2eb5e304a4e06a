// Section 3a of the design, the column of Qdrant's payload, cell by cell.
#include "stores/qdrant/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "qdrant.pb.h"
#include "stores/qdrant/values.h"

namespace apex::qdrant {
namespace {

using PointOperation = ::qdrant::PointsUpdateOperation;
using ::qdrant::Value;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Pack(const std::vector<float>& floats) {
  std::string bytes(floats.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), floats.data(), bytes.size());
  return bytes;
}

/// A table keyed by bigint `id`, with one payload column.
std::shared_ptr<TableMapping> Mapping(ColumnKind kind, bool is_array = false) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->table = "public.t";
  mapping->key = {{"id", ColumnKind::kInt}};
  mapping->columns = {{"id", ColumnKind::kInt}, {"v", kind, is_array}};
  mapping->vector.emplace();
  mapping->vector->collection = "t";
  mapping->vector->embedding = "embedding";
  mapping->vector->dimensions = 2;
  mapping->vector->payload = {"v"};
  return mapping;
}

RowWrite Write(MappingPtr mapping, const std::string& image,
               std::optional<std::string> embedding = Pack({1, 2})) {
  auto change = std::make_shared<Change>();
  change->seq = 10;
  change->mapping = std::move(mapping);
  change->row = {1, "[7]"};
  change->after = image;
  change->embedding = std::move(embedding);
  return {10, change, {change}};
}

Result<PointOperation> Decoded(const Result<std::string_view>& bytes) {
  if (!bytes.ok()) return bytes.error();
  PointOperation operation;
  EXPECT_TRUE(operation.ParseFromString(std::string(*bytes)));
  return operation;
}

Result<PointOperation> EncodeWrite(const RowWrite& write) {
  return Decoded(PointEncoder().Write(write));
}

Result<PointOperation> EncodeUndo(const RowUndo& undo) {
  return Decoded(PointEncoder().Undo(undo));
}

Result<PointOperation> EncodeOne(ColumnKind kind, const std::string& json, bool is_array = false) {
  return EncodeWrite(Write(Mapping(kind, is_array), R"({"id": 7, "v": )" + json + "}"));
}

/// The payload value that a column's JSON becomes.
Value Encoded(ColumnKind kind, const std::string& json, bool is_array = false) {
  auto operation = EncodeOne(kind, json, is_array);
  EXPECT_TRUE(operation.ok()) << Describe(operation.error());
  if (!operation.ok()) return {};
  return operation->upsert().points(0).payload().at("v");
}

void ExpectUnencodable(const Result<PointOperation>& operation, const std::string& column,
                       const std::string& words) {
  ASSERT_FALSE(operation.ok());
  EXPECT_EQ(operation.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(operation.error().native_code, kUnencodable);
  EXPECT_THAT(operation.error().message, HasSubstr("public.t [7], column " + column + ": "));
  EXPECT_THAT(operation.error().message, HasSubstr(words));
}

TEST(EncodeTest, PointCarriesIdKeyColumnsVersionAndEmbedding) {
  const auto operation =
      EncodeWrite(Write(Mapping(ColumnKind::kText), R"({"id": 7, "v": "x", "unmapped": 1})"));
  ASSERT_TRUE(operation.ok());
  const auto& point = (*operation).upsert().points(0);
  EXPECT_EQ(point.id().num(), 7u);
  EXPECT_EQ(point.payload_size(), 3);
  EXPECT_EQ(point.payload().at("id").integer_value(), 7);
  EXPECT_EQ(point.payload().at("_apex_seq").integer_value(), 10);
  EXPECT_THAT(point.vectors().vector().dense().data(), testing::ElementsAre(1, 2));
}

TEST(EncodeTest, NamedVectorGoesUnderItsName) {
  auto mapping = Mapping(ColumnKind::kText);
  mapping->vector->name = "title-vector";
  const auto operation = EncodeWrite(Write(mapping, R"({"id": 7, "v": "x"})"));
  ASSERT_TRUE(operation.ok());
  const auto& vectors = (*operation).upsert().points(0).vectors();
  ASSERT_TRUE(vectors.has_vectors());
  ASSERT_EQ(vectors.vectors().vectors_size(), 1);
  EXPECT_THAT(vectors.vectors().vectors().at("title-vector").dense().data(),
              testing::ElementsAre(1, 2));
}

TEST(EncodeTest, PayloadAloneIsTheWholePayloadForTheOneVersion) {
  PointEncoder encoder;
  const auto operation = Decoded(encoder.WritePayload(
      Write(Mapping(ColumnKind::kText), R"({"id": 7, "v": null, "unmapped": 1})"), 4));
  ASSERT_TRUE(operation.ok());
  const auto& overwrite = (*operation).overwrite_payload();
  EXPECT_EQ(overwrite.payload_size(), 3);
  EXPECT_EQ(overwrite.payload().at("id").integer_value(), 7);
  EXPECT_TRUE(overwrite.payload().at("v").has_null_value());
  EXPECT_EQ(overwrite.payload().at("_apex_seq").integer_value(), 10);
  const auto& filter = overwrite.points_selector().filter();
  ASSERT_EQ(filter.must_size(), 2);
  EXPECT_EQ(filter.must(0).has_id().has_id(0).num(), 7u);
  EXPECT_EQ(filter.must(1).field().key(), "_apex_seq");
  EXPECT_EQ(filter.must(1).field().range().gt(), 3);
  EXPECT_EQ(filter.must(1).field().range().lte(), 4);
  ExpectUnencodable(Decoded(encoder.WritePayload(
                        Write(Mapping(ColumnKind::kDate), R"({"id": 7, "v": "infinity"})"), 4)),
                    "v", "");
}

TEST(EncodeTest, OneEncoderServesRowsOfAnyShapeOneAfterTheOther) {
  PointEncoder encoder;
  const RowWrite first =
      Write(Mapping(ColumnKind::kText), R"({"id": 7, "v": "long enough to be kept"})");
  const RowWrite second = Write(Mapping(ColumnKind::kInt), R"({"id": 7, "v": -1})", Pack({3}));
  for (int i = 0; i < 2; ++i) {
    const auto text = Decoded(encoder.Write(first));
    EXPECT_EQ((*text).upsert().points(0).payload().at("v").string_value(),
              "long enough to be kept");
    const auto number = Decoded(encoder.Write(second));
    EXPECT_EQ((*number).upsert().points(0).payload().at("v").integer_value(), -1);
    EXPECT_THAT((*number).upsert().points(0).vectors().vector().dense().data(),
                testing::ElementsAre(3));
    EXPECT_FALSE(encoder.Write(Write(Mapping(ColumnKind::kText), "[]")).ok());
  }
}

TEST(EncodeTest, BoolStaysBool) { EXPECT_TRUE(Encoded(ColumnKind::kBool, "true").bool_value()); }

TEST(EncodeTest, IntegersAreExactTo64Bits) {
  EXPECT_EQ(Encoded(ColumnKind::kInt, "9223372036854775807").integer_value(), 9223372036854775807);
  EXPECT_EQ(Encoded(ColumnKind::kInt, "-9223372036854775808").integer_value(),
            std::numeric_limits<int64_t>::min());
}

TEST(EncodeTest, FloatIsADoubleEvenWhenItLooksLikeAnInteger) {
  EXPECT_EQ(Encoded(ColumnKind::kFloat, "1").kind_case(), Value::kDoubleValue);
  EXPECT_EQ(Encoded(ColumnKind::kFloat, "0.1").double_value(), 0.1);
}

TEST(EncodeTest, FloatThatIsNoNumberStaysText) {
  EXPECT_EQ(Encoded(ColumnKind::kFloat, R"("NaN")").string_value(), "NaN");
  EXPECT_EQ(Encoded(ColumnKind::kFloat, R"("-Infinity")").string_value(), "-Infinity");
}

TEST(EncodeTest, NumericIsAString) {
  EXPECT_EQ(Encoded(ColumnKind::kNumeric, R"("12345678901234567890.12")").string_value(),
            "12345678901234567890.12");
}

TEST(EncodeTest, TextUuidTimestampsAndOthersAreStrings) {
  EXPECT_EQ(Encoded(ColumnKind::kText, R"("Zoë \"q\" `b` \n 🚀")").string_value(),
            "Zoë \"q\" `b` \n 🚀");
  EXPECT_EQ(Encoded(ColumnKind::kUuid, R"("0190a5e0-0000-7000-8000-000000000001")").string_value(),
            "0190a5e0-0000-7000-8000-000000000001");
  EXPECT_EQ(Encoded(ColumnKind::kTimestamptz, R"("2022-02-22T19:22:22.5Z")").string_value(),
            "2022-02-22T19:22:22.5Z");
  EXPECT_EQ(Encoded(ColumnKind::kTimestamp, R"("2022-02-22T19:22:22")").string_value(),
            "2022-02-22T19:22:22");
  EXPECT_EQ(Encoded(ColumnKind::kDate, R"("2022-02-22")").string_value(), "2022-02-22");
  EXPECT_EQ(Encoded(ColumnKind::kOther, R"("1 day")").string_value(), "1 day");
}

TEST(EncodeTest, JsonIsParsedFromItsText) {
  const Value value = Encoded(ColumnKind::kJson, R"("{\"a\": [1, 2.5, null]}")");
  const auto& list = value.struct_value().fields().at("a").list_value();
  EXPECT_EQ(list.values(0).integer_value(), 1);
  EXPECT_EQ(list.values(1).double_value(), 2.5);
  EXPECT_EQ(list.values(2).kind_case(), Value::kNullValue);
}

TEST(EncodeTest, JsonTextThatIsAJsonStringIsAString) {
  EXPECT_EQ(Encoded(ColumnKind::kJson, R"("\"infinity\"")").string_value(), "infinity");
}

TEST(EncodeTest, JsonbIsNative) {
  EXPECT_EQ(Encoded(ColumnKind::kJsonb, R"("x")").string_value(), "x");
  EXPECT_TRUE(Encoded(ColumnKind::kJsonb, R"({"a": {"b": true}})")
                  .struct_value()
                  .fields()
                  .at("a")
                  .struct_value()
                  .fields()
                  .at("b")
                  .bool_value());
  EXPECT_EQ(Encoded(ColumnKind::kJsonb, "{}").kind_case(), Value::kStructValue);
  EXPECT_EQ(Encoded(ColumnKind::kJsonb, "[]").kind_case(), Value::kListValue);
  EXPECT_EQ(Encoded(ColumnKind::kJsonb, "18446744073709551615").double_value(),
            18446744073709551615.0);
}

TEST(EncodeTest, ArraysAreListsWithNullsAndDimensions) {
  const Value flat = Encoded(ColumnKind::kInt, "[1, null, 3]", /*is_array=*/true);
  EXPECT_EQ(flat.list_value().values(0).integer_value(), 1);
  EXPECT_EQ(flat.list_value().values(1).kind_case(), Value::kNullValue);
  const Value nested = Encoded(ColumnKind::kText, R"([["a"], ["b"]])", /*is_array=*/true);
  EXPECT_EQ(nested.list_value().values(1).list_value().values(0).string_value(), "b");
  EXPECT_EQ(Encoded(ColumnKind::kText, "[]", /*is_array=*/true).kind_case(), Value::kListValue);
}

TEST(EncodeTest, NullAndMissingColumnsAreNull) {
  for (const ColumnKind kind :
       {ColumnKind::kInt, ColumnKind::kText, ColumnKind::kJson, ColumnKind::kJsonb}) {
    EXPECT_EQ(Encoded(kind, "null").kind_case(), Value::kNullValue);
  }
  EXPECT_EQ(Encoded(ColumnKind::kText, "null", /*is_array=*/true).kind_case(), Value::kNullValue);
  const auto operation = EncodeWrite(Write(Mapping(ColumnKind::kText), R"({"id": 7})"));
  EXPECT_EQ((*operation).upsert().points(0).payload().at("v").kind_case(), Value::kNullValue);
}

TEST(EncodeTest, InfiniteDatesAreUnencodable) {
  for (const ColumnKind kind :
       {ColumnKind::kDate, ColumnKind::kTimestamp, ColumnKind::kTimestamptz}) {
    ExpectUnencodable(EncodeOne(kind, R"("infinity")"), "v", "infinite");
    ExpectUnencodable(EncodeOne(kind, R"(["-infinity"])", /*is_array=*/true), "v", "infinite");
  }
}

TEST(EncodeTest, EmbeddingWithNanOrInfinityIsUnencodable) {
  const auto nan = Write(Mapping(ColumnKind::kText), R"({"id": 7})", Pack({1, NAN}));
  ExpectUnencodable(EncodeWrite(nan), "embedding", "NaN at position 2");
  const auto infinite = Write(Mapping(ColumnKind::kText), R"({"id": 7})", Pack({-INFINITY, 1}));
  ExpectUnencodable(EncodeWrite(infinite), "embedding", "Infinity at position 1");
}

TEST(EncodeTest, JsonBeyondWhatADoubleOrUnicodeHoldsIsUnencodableAndNamesTheColumn) {
  ExpectUnencodable(EncodeOne(ColumnKind::kJsonb, R"({"a": 1e400})"), "v", "beyond a double");
  ExpectUnencodable(EncodeOne(ColumnKind::kJson, R"("{\"a\": 1e400}")"), "v", "beyond a double");
  ExpectUnencodable(EncodeOne(ColumnKind::kJson, R"("\"\\ud800\"")"), "v", "surrogate");
}

TEST(EncodeTest, ColumnOutsideThePayloadCannotBeAtFault) {
  const auto operation = EncodeWrite(
      Write(Mapping(ColumnKind::kText), R"({"other": {"a": [1e400]}, "id": 7, "v": "x"})"));
  ASSERT_TRUE(operation.ok()) << Describe(operation.error());
  EXPECT_EQ((*operation).upsert().points(0).payload().at("v").string_value(), "x");
}

TEST(EncodeTest, ColumnNameNeedsNoEscaping) {
  auto mapping = std::make_shared<TableMapping>(*Mapping(ColumnKind::kText));
  mapping->columns[1].name = "a \"b\" \\ ü";
  mapping->vector->payload = {mapping->columns[1].name};
  const auto operation = EncodeWrite(Write(mapping, R"({"id": 7, "a \"b\" \\ \u00fc": "x"})"));
  ASSERT_TRUE(operation.ok()) << Describe(operation.error());
  EXPECT_EQ((*operation).upsert().points(0).payload().at("a \"b\" \\ ü").string_value(), "x");
}

TEST(EncodeTest, JsonNestedDeeperThanQdrantDecodesIsUnencodable) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(EncodeOne(ColumnKind::kJsonb, nested(kNestingMax)).ok());
  ExpectUnencodable(EncodeOne(ColumnKind::kJsonb, nested(kNestingMax + 2)), "v", "nested deeper");
  ExpectUnencodable(EncodeOne(ColumnKind::kJsonb, nested(900)), "v", "nested deeper");
  EXPECT_FALSE(EncodeOne(ColumnKind::kJsonb, nested(100000)).ok());
  // The dimensions of an array are levels, too.
  EXPECT_TRUE(EncodeOne(ColumnKind::kJsonb, nested(kNestingMax), /*is_array=*/true).ok());
  for (const ColumnKind kind : {ColumnKind::kJsonb, ColumnKind::kInt}) {
    ExpectUnencodable(EncodeOne(kind, nested(kNestingMax + 2), /*is_array=*/true), "v",
                      "nested deeper");
  }
  const std::string objects = R"([[{"a": )" + nested(kNestingMax - 1) + "}]]";
  ExpectUnencodable(EncodeOne(ColumnKind::kJsonb, objects, /*is_array=*/true), "v",
                    "nested deeper");
  const std::string text = R"([[")" + nested(kNestingMax) + R"("]])";
  ExpectUnencodable(EncodeOne(ColumnKind::kJson, text, /*is_array=*/true), "v", "nested deeper");
}

TEST(EncodeTest, CaptureErrorIsUnencodableUnlessTheRowIsGone) {
  auto change = std::make_shared<Change>();
  change->mapping = Mapping(ColumnKind::kText);
  change->row = {1, "[7]"};
  change->capture_error = "no output function";
  const auto failed = EncodeWrite({1, change, {change}});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message, "public.t [7]: no output function");
  change->op = Operation::kDelete;
  EXPECT_TRUE(EncodeWrite({1, change, {change}}).ok());
}

TEST(EncodeTest, UpsertAppliesUnlessTheStoredVersionIsAsNewOrNewer) {
  const auto operation = EncodeWrite(Write(Mapping(ColumnKind::kText), R"({"id": 7})"));
  const auto& filter = (*operation).upsert().update_filter();
  EXPECT_THAT(filter.must(), IsEmpty());
  ASSERT_EQ(filter.must_not_size(), 1);
  EXPECT_EQ(filter.must_not(0).field().key(), "_apex_seq");
  EXPECT_EQ(filter.must_not(0).field().range().gte(), 10);
}

TEST(EncodeTest, NullEmbeddingAndDeletedRowBecomeADeleteOfOlderVersions) {
  RowWrite without = Write(Mapping(ColumnKind::kText), R"({"id": 7})", std::nullopt);
  RowWrite gone = without;
  auto deleted = std::make_shared<Change>(*without.newest);
  deleted->op = Operation::kDelete;
  deleted->after.reset();
  gone.newest = deleted;
  for (const RowWrite& write : {without, gone}) {
    const auto operation = EncodeWrite(write);
    const auto& filter = (*operation).delete_points().points().filter();
    EXPECT_EQ(filter.must(0).has_id().has_id(0).num(), 7u);
    EXPECT_EQ(filter.must_not(0).field().range().gte(), 10);
  }
}

TEST(EncodeTest, UndoPutsTheAcceptedImageBackOnlyOverVersionsOfTheFailedChanges) {
  RowUndo undo;
  undo.mapping = Mapping(ColumnKind::kText);
  undo.row = {1, "[7]"};
  undo.failed_seq = 10;
  undo.accepted_seq = 9;
  undo.accepted = R"({"id": 7, "v": "before"})";
  undo.accepted_embedding = Pack({1, 2});
  const auto restored = EncodeUndo(undo);
  EXPECT_EQ((*restored).upsert().points(0).payload().at("v").string_value(), "before");
  EXPECT_EQ((*restored).upsert().points(0).payload().at("_apex_seq").integer_value(), 9);
  EXPECT_EQ((*restored).upsert().update_filter().must(0).field().range().gt(), 9);
  EXPECT_EQ((*restored).upsert().update_filter().must(0).field().range().lte(), 10);

  undo.accepted_embedding.reset();
  const auto removed = EncodeUndo(undo);
  const auto& filter = (*removed).delete_points().points().filter();
  EXPECT_EQ(filter.must(0).has_id().has_id(0).num(), 7u);
  EXPECT_EQ(filter.must(1).field().range().gt(), 9);
  EXPECT_EQ(filter.must(1).field().range().lte(), 10);
}

}  // namespace
}  // namespace apex::qdrant
