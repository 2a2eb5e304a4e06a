#include "stores/redis/cache_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "stores/redis/glob.h"

namespace apex::redis {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Image Parsed(std::string_view text) {
  Image image;
  EXPECT_TRUE(image.Read(text)) << text;
  return image;
}

KeyTemplate Compiled(std::string_view text) {
  auto compiled = KeyTemplate::Compile(text);
  EXPECT_TRUE(compiled) << text;
  return compiled ? *std::move(compiled) : KeyTemplate();
}

/// A mapping with one column of the kind, and a cache of mode write that holds it.
std::shared_ptr<TableMapping> Mapping(ColumnKind kind, bool is_array = false) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->table = "public.documents";
  mapping->key = {{.name = "id", .kind = ColumnKind::kInt}};
  mapping->columns = {{.name = "id", .kind = ColumnKind::kInt},
                      {.name = "v", .kind = kind, .is_array = is_array}};
  mapping->cache = CacheMapping{.entity = "document",
                                .mode = CacheMode::kWrite,
                                .entry = "doc:{id}",
                                .ttl_seconds = {},
                                .columns = {"v"},
                                .invalidate = {},
                                .events = {}};
  return mapping;
}

Result<std::string> ValueOf(ColumnKind kind, bool is_array, const std::string& json) {
  Result<CachePlan> plan = CachePlan::Compile(Mapping(kind, is_array), "");
  EXPECT_TRUE(plan.ok());
  return plan->Value(7, {.relation = 1, .key = "[1]"}, Parsed(R"({"id": 1, "v": )" + json + "}"));
}

TEST(ImageTest, LeavesValuesAsTheyAreWritten) {
  const Image image = Parsed(
      R"({"a": 9223372036854775807 , "b":"\u00e4\"x" ,"c d":{"n": [1.10, null]}, "e" : null})");
  EXPECT_EQ(image.Find("a"), "9223372036854775807");
  EXPECT_EQ(image.Find("b"), R"("\u00e4\"x")");
  EXPECT_EQ(image.Find("c d"), R"({"n": [1.10, null]})");
  EXPECT_EQ(image.Find("e"), "null");
  EXPECT_EQ(image.Find("f"), std::nullopt);
}

TEST(ImageTest, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[]", "1", "null", "{", R"({"a":1} x)", R"({"a":1}{})"}) {
    EXPECT_FALSE(Image().Read(text)) << text;
  }
}

TEST(ImageTest, HoldsNothingOfTheOneBefore) {
  Image image = Parsed(R"({"a": "long enough to need a buffer of its own", "b": 2})");
  EXPECT_FALSE(image.Read("[]"));
  EXPECT_TRUE(image.Read(R"({"c": 3})"));
  EXPECT_EQ(image.Find("c"), "3");
  EXPECT_EQ(image.Find("a"), std::nullopt);
}

TEST(KeyTemplateTest, PutsColumnsIn) {
  const Image image =
      Parsed(R"({"id": "0190-a", "n": 42, "b": true, "quote": "a\"\u00e4\n", "none": null})");
  EXPECT_EQ(Compiled("doc:{id}:chunks").Render("", image), "doc:0190-a:chunks");
  EXPECT_EQ(Compiled("{id}{n}").Render("app:", image), "app:0190-a42");
  EXPECT_EQ(Compiled("flag:{b}").Render("", image), "flag:true");
  EXPECT_EQ(Compiled("q:{quote}").Render("", image), "q:a\"\u00e4\n");
  EXPECT_EQ(Compiled("all").Render("", image), "all");
}

TEST(KeyTemplateTest, YieldsNoKeyForANullOrAbsentColumn) {
  const Image image = Parsed(R"({"none": null})");
  EXPECT_EQ(Compiled("user:docs:{none}").Render("", image), std::nullopt);
  EXPECT_EQ(Compiled("user:docs:{absent}").Render("", image), std::nullopt);
}

TEST(KeyTemplateTest, IsAPatternByAGlobCharacterOutsideBraces) {
  EXPECT_TRUE(Compiled("query:*{id}*").is_pattern());
  EXPECT_TRUE(Compiled("q?").is_pattern());
  EXPECT_TRUE(Compiled("q[ab]").is_pattern());
  EXPECT_FALSE(Compiled("doc:{id}").is_pattern());
  EXPECT_FALSE(Compiled("doc:{odd*name}").is_pattern());
}

TEST(KeyTemplateTest, AnIdentifierThatIsAGlobMatchesNothingElse) {
  const Image image = Parsed(R"({"id": "*"})");
  const std::string pattern = Compiled("query:*:{id}").Render("app*:", image).value_or("");
  EXPECT_EQ(pattern, "app\\*:query:*:\\*");
  EXPECT_TRUE(GlobMatch(pattern, "app*:query:x:*"));
  EXPECT_FALSE(GlobMatch(pattern, "app*:query:x:1"));
  EXPECT_EQ(Compiled("doc:{id}").Render("", image), "doc:*")
      << "a key is not a pattern and is not escaped";
}

TEST(KeyTemplateTest, RefusesBracesWithoutPartners) {
  for (const char* text : {"doc:{id", "doc:id}", "doc:{}", "{a}}"})
    EXPECT_FALSE(KeyTemplate::Compile(text)) << text;
}

TEST(CachePlanTest, SaysWhichTemplateIsAtFault) {
  auto unknown = Mapping(ColumnKind::kText);
  unknown->cache->invalidate = {"q:{nope}"};
  const auto plan = CachePlan::Compile(unknown, "");
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().kind, ErrorKind::kPermanent);
  EXPECT_THAT(plan.error().message,
              AllOf(HasSubstr("q:{nope}"), HasSubstr("public.documents"), HasSubstr("names nope")));

  auto pattern = Mapping(ColumnKind::kText);
  pattern->cache->entry = "doc:*";
  EXPECT_FALSE(CachePlan::Compile(pattern, "").ok());
}

TEST(CachePlanTest, CollectsKeysAndPatternsOfAnImage) {
  auto mapping = Mapping(ColumnKind::kText);
  mapping->cache->invalidate = {"doc:{id}:chunks", "query:*{id}*", "user:{v}"};
  const auto plan = CachePlan::Compile(mapping, "app:");
  ASSERT_TRUE(plan.ok());
  Invalidations found;
  plan->AddInvalidations(Parsed(R"({"id": 1, "v": "old"})"), found);
  plan->AddInvalidations(Parsed(R"({"id": 1, "v": "new"})"), found);
  found.Unite();
  EXPECT_THAT(found.keys, ElementsAre("app:doc:1:chunks", "app:user:new", "app:user:old"));
  EXPECT_THAT(found.patterns, ElementsAre("app:query:*1*"));
  EXPECT_EQ(plan->Entry(Parsed(R"({"id": 1, "v": "old"})")), "app:doc:1");
}

// Design section 3a, the column "cached JSON", cell by cell.
struct Cell {
  const char* name;
  ColumnKind kind;
  bool is_array;
  const char* image;  ///< As the outbox holds the value.
  const char* cached;
};

class CachedValueTest : public testing::TestWithParam<Cell> {};

TEST_P(CachedValueTest, ArrivesAsTheDesignSays) {
  const Cell& cell = GetParam();
  const auto value = ValueOf(cell.kind, cell.is_array, cell.image);
  ASSERT_TRUE(value.ok()) << value.error().message;
  EXPECT_EQ(*value, std::string(R"({"_apex_seq":7,"v":)") + cell.cached + "}");
  EXPECT_TRUE(nlohmann::json::accept(*value)) << *value;
}

INSTANTIATE_TEST_SUITE_P(
    Cells, CachedValueTest,
    testing::Values(
        Cell{"Int", ColumnKind::kInt, false, "42", "42"},
        Cell{"Int64Max", ColumnKind::kInt, false, "9223372036854775807", "9223372036854775807"},
        Cell{"Int64Min", ColumnKind::kInt, false, "-9223372036854775808", "-9223372036854775808"},
        Cell{"Float", ColumnKind::kFloat, false, "0.1", "0.1"},
        Cell{"FloatNan", ColumnKind::kFloat, false, R"("NaN")", R"("NaN")"},
        Cell{"Bool", ColumnKind::kBool, false, "true", "true"},
        Cell{"Text", ColumnKind::kText, false, R"("a \"b\" `c` \\ \u0007")",
             R"("a \"b\" `c` \\ \u0007")"},
        Cell{"Unicode", ColumnKind::kText, false, "\"\u00e4\u6f22\U0001F600\"",
             "\"\u00e4\u6f22\U0001F600\""},
        Cell{"Uuid", ColumnKind::kUuid, false, R"("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")",
             R"("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")"},
        Cell{"Numeric", ColumnKind::kNumeric, false, R"("12345678901234567890.10")",
             R"("12345678901234567890.10")"},
        Cell{"NumericInfinity", ColumnKind::kNumeric, false, R"("Infinity")", R"("Infinity")"},
        Cell{"Json", ColumnKind::kJson, false, R"("{\"b\": 1.10, \"a\": \"\\u00e4\", \"b\": [] }")",
             R"({"b": 1.10, "a": "\u00e4", "b": [] })"},
        Cell{"JsonString", ColumnKind::kJson, false, R"("\"infinity\"")", R"("infinity")"},
        Cell{"JsonNull", ColumnKind::kJson, false, R"("null")", "null"},
        Cell{"Jsonb", ColumnKind::kJsonb, false, R"({"n": 123456789012345678901234567890.5})",
             R"({"n": 123456789012345678901234567890.5})"},
        Cell{"JsonArray", ColumnKind::kJson, true, R"(["{\"a\":1}", null, ["2"]])",
             R"([{"a":1},null,[2]])"},
        Cell{"Array", ColumnKind::kText, true, R"(["a", null, ["b"]])", R"(["a", null, ["b"]])"},
        Cell{"Timestamptz", ColumnKind::kTimestamptz, false, R"("2022-02-22T19:22:22.123456Z")",
             R"("2022-02-22T19:22:22.123456Z")"},
        Cell{"Timestamp", ColumnKind::kTimestamp, false, R"("2022-02-22T19:22:22")",
             R"("2022-02-22T19:22:22")"},
        Cell{"Date", ColumnKind::kDate, false, R"("2022-02-22")", R"("2022-02-22")"},
        Cell{"Other", ColumnKind::kOther, false, "\"(1,2)\"", "\"(1,2)\""},
        Cell{"Null", ColumnKind::kText, false, "null", "null"},
        Cell{"NullJson", ColumnKind::kJson, false, "null", "null"}),
    [](const auto& cell) { return cell.param.name; });

TEST(CachedValueErrorTest, RefusesAnInfiniteTimeAndNamesColumnAndRow) {
  for (const ColumnKind kind :
       {ColumnKind::kTimestamptz, ColumnKind::kTimestamp, ColumnKind::kDate}) {
    for (const auto& [is_array, json] : {std::pair(false, R"("infinity")"),
                                         {false, R"("-infinity")"},
                                         {true, R"(["2022-02-22", ["infinity"]])"}}) {
      const auto value = ValueOf(kind, is_array, json);
      ASSERT_FALSE(value.ok()) << json;
      EXPECT_EQ(value.error().kind, ErrorKind::kPermanent);
      EXPECT_EQ(value.error().native_code, kUnencodable);
      EXPECT_THAT(value.error().message, AllOf(HasSubstr("column v"), HasSubstr("row [1]"),
                                               HasSubstr("public.documents")));
    }
  }
  EXPECT_TRUE(ValueOf(ColumnKind::kText, false, R"("infinity")").ok())
      << "a text is free to say so";
}

TEST(CachedValueTest, HoldsTheColumnsInTheMappingsOrderAndQuotesTheirNames) {
  auto mapping = Mapping(ColumnKind::kText);
  mapping->columns.push_back({.name = "odd \"name\"", .kind = ColumnKind::kText});
  mapping->cache->columns = {"v", "odd \"name\"", "id"};
  const auto plan = CachePlan::Compile(mapping, "");
  ASSERT_TRUE(plan.ok());
  const auto value =
      plan->Value(9007199254740993, {}, Parsed(R"({"id": 1, "v": "x", "odd \"name\"": "y"})"));
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, R"({"_apex_seq":9007199254740993,"v":"x","odd \"name\"":"y","id":1})");
}

TEST(EventMessageTest, NamesTheRowAndTheTime) {
  const std::string then = EventTime(1645557742000042);
  EXPECT_EQ(
      EventMessage({.relation = 1, .key = R"(["0190-a"])"}, "document_updated", then),
      R"({"document_id":"0190-a","event":"document_updated","timestamp":"2022-02-22T19:22:22.000042Z","source":"cache_service"})");
  EXPECT_THAT(EventMessage({.relation = 1, .key = "[9007199254740993]"}, "e", then),
              HasSubstr(R"("document_id":"9007199254740993")"));
  EXPECT_THAT(EventMessage({.relation = 1, .key = R"(["a",1])"}, "e", then),
              HasSubstr(R"("document_id":["a",1])"));
  for (const char* key : {R"(["a","b"])", R"(["a\"b"])", R"([""])"}) {
    const auto message =
        nlohmann::json::parse(EventMessage({.relation = 1, .key = key}, "e", then));
    const auto parsed = nlohmann::json::parse(key);
    EXPECT_EQ(message["document_id"], parsed.size() == 1 ? parsed[0] : parsed) << key;
  }
}

TEST(CachePlanTest, NamesWhateverRowsOfATableMayHaveByPatternsAsNarrowAsTheKindAllows) {
  auto mapping = Mapping(ColumnKind::kUuid);
  mapping->columns.push_back({.name = "name", .kind = ColumnKind::kText});
  mapping->cache->entry = "doc:{v}";
  mapping->cache->invalidate = {"doc:{v}:chunks", "n[o]:*{id}*", "by:{name}", "all:docs"};
  mapping->cache->tags = {"row:{id}", "all rows"};
  Result<CachePlan> plan = CachePlan::Compile(mapping, "a*p:");
  ASSERT_TRUE(plan.ok());
  const TableKeys table = plan->KeysOfTable();
  EXPECT_TRUE(table.versioned);
  EXPECT_THAT(table.keys, ElementsAre("a*p:all:docs"));
  const std::string id = "0190a5e0-5c1e-7000-8000-000000000001";
  EXPECT_TRUE(GlobMatch(table.entries, "a*p:doc:" + id));
  EXPECT_FALSE(GlobMatch(table.entries, "a*p:doc:" + id + ":chunks"));
  EXPECT_FALSE(GlobMatch(table.entries, "axp:doc:" + id));
  ASSERT_EQ(table.patterns.size(), 3u);
  EXPECT_TRUE(GlobMatch(table.patterns[0], "a*p:doc:" + id + ":chunks"));
  EXPECT_EQ(table.patterns[1], R"(a\*p:n[o]:*[-0-9]**)");
  EXPECT_EQ(table.patterns[2], R"(a\*p:by:*)");
  EXPECT_THAT(table.tags, ElementsAre("all rows"));
  EXPECT_THAT(table.tag_sets, ElementsAre(R"(a\*p:_apex:tag:row:[-0-9]*)"));
}

TEST(EventMessageTest, ATableAsAWholeIsNoDocument) {
  EXPECT_EQ(
      EventMessage({.relation = 1, .key = "[]"}, "document_truncated", "t"),
      R"({"document_id":null,"event":"document_truncated","timestamp":"t","source":"cache_service"})");
}

// 2022-02-22T19:22:22Z
constexpr int64_t kNowUs = 1645557742LL * 1'000'000;

Lifetime LifetimeWith(ColumnKind kind, const std::string& json,
                      std::optional<int64_t> ttl_seconds = std::nullopt) {
  auto mapping = Mapping(kind);
  mapping->cache->ttl_column = "v";
  mapping->cache->ttl_seconds = ttl_seconds;
  Result<CachePlan> plan = CachePlan::Compile(mapping, "");
  EXPECT_TRUE(plan.ok());
  return plan->LifetimeOf(Parsed(R"({"id": 1, "v": )" + json + "}"), kNowUs);
}

TEST(CachePlanTest, TakesTheLifeOfAnEntryFromTheRowWhereItSaysOne) {
  EXPECT_EQ(LifetimeWith(ColumnKind::kInt, "90", 3600).seconds, 90);
  EXPECT_EQ(LifetimeWith(ColumnKind::kInt, "null", 3600).seconds, 3600);
  EXPECT_EQ(LifetimeWith(ColumnKind::kInt, "null").seconds, std::nullopt);
  EXPECT_FALSE(LifetimeWith(ColumnKind::kInt, "null").over);
  EXPECT_TRUE(LifetimeWith(ColumnKind::kInt, "0", 3600).over);
  EXPECT_TRUE(LifetimeWith(ColumnKind::kInt, "-1").over);

  const auto until = [](const char* text) {
    return LifetimeWith(ColumnKind::kTimestamptz, '"' + std::string(text) + '"', 3600);
  };
  EXPECT_EQ(until("2022-02-22T19:23:22.5Z").seconds, 60);
  EXPECT_TRUE(until("2022-02-22T19:22:22Z").over);
  EXPECT_TRUE(until("1999-01-01T00:00:00Z").over);
  EXPECT_TRUE(until("-infinity").over);
  EXPECT_FALSE(until("infinity").over);
  EXPECT_EQ(until("infinity").seconds, std::nullopt);
  EXPECT_FALSE(until("9999-12-31T00:00:00Z").over);
}

TEST(CachePlanTest, NamesTheTagsOfARowAndRefusesPatterns) {
  auto mapping = Mapping(ColumnKind::kText);
  mapping->cache->tags = {"doc:{id}", "by:{v}"};
  Result<CachePlan> plan = CachePlan::Compile(mapping, "app:");
  ASSERT_TRUE(plan.ok());
  std::vector<std::string> tags;
  plan->AddTags(Parsed(R"({"id": 1, "v": "a*"})"), tags);
  plan->AddTags(Parsed(R"({"id": 2, "v": null})"), tags);
  EXPECT_THAT(tags, ElementsAre("doc:1", "by:a*", "doc:2"));

  mapping->cache->tags = {"doc:*"};
  const Result<CachePlan> refused = CachePlan::Compile(mapping, "");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("must name one tag"));
}

TEST(ManualInvalidationTest, IsReadWithThePrefixBeforeItsNames) {
  const auto read = ReadManualInvalidation(
      "a[1]:",
      R"({"keys":["doc:7"],"patterns":["q:*"],"tags":["doc:7"],"event":"x","document_id":"7"})");
  ASSERT_TRUE(read);
  EXPECT_THAT(read->invalidations.keys, ElementsAre("a[1]:doc:7"));
  EXPECT_THAT(read->invalidations.patterns, ElementsAre("a\\[1\\]:q:*"));
  EXPECT_THAT(read->invalidations.tags, ElementsAre("doc:7"));
  EXPECT_EQ(read->event, "x");
  EXPECT_EQ(read->document_id, "7");
  for (const char* other :
       {"[]", "", R"({"event": 7})", R"({"event": null})", R"({"document_id": ["7"]})",
        R"({"keys": "doc:7"})", R"({"patterns": [7]})", R"({"tags": {"a": "b"}})"}) {
    EXPECT_FALSE(ReadManualInvalidation("", other)) << other;
  }
  const auto nothing = ReadManualInvalidation("", "{}");
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->event.empty());
}

}  // namespace
}  // namespace apex::redis
