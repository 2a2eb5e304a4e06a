// Values in words: equal for equal values alone, and keys as the outbox writes them.
#include "stores/neo4j/value_text.h"

#include <gtest/gtest.h>

namespace apex::neo4j {
namespace {

using packstream::Value;
using packstream::Writer;

template <typename Write>
std::string Shown(Write write) {
  std::string bytes;
  Writer out(bytes);
  write(out);
  return ShowEncoded(bytes);
}

template <typename Write>
std::optional<std::string> Key(Write write) {
  std::string bytes;
  Writer out(bytes);
  write(out);
  std::string_view rest = bytes;
  return KeyJson(*packstream::Decode(rest));
}

TEST(ShowValueTest, TellsTypesApartThatLookAlike) {
  EXPECT_EQ(Shown([](Writer& out) { out.Int(1); }), "1");
  EXPECT_EQ(Shown([](Writer& out) { out.Float(1); }), "1.0");
  EXPECT_EQ(Shown([](Writer& out) { out.Float(0.1); }), "0.1");
  EXPECT_EQ(Shown([](Writer& out) { out.String("1"); }), "\"1\"");
  EXPECT_EQ(Shown([](Writer& out) { out.Bool(true); }), "true");
  EXPECT_EQ(ShowEncoded(""), "null");
}

TEST(ShowValueTest, QuotesTextAndListsItsElements) {
  EXPECT_EQ(Shown([](Writer& out) {
              out.ListHeader(2);
              out.String("a\"b, c");
              out.Null();
            }),
            R"(["a\"b, c", null])");
}

TEST(ShowValueTest, ShowsTimesInIsoForm) {
  EXPECT_EQ(Shown([](Writer& out) { out.Date(19045); }), "2022-02-22");
  EXPECT_EQ(Shown([](Writer& out) { out.LocalDateTime(1645557742, 0); }), "2022-02-22T19:22:22");
  for (const bool utc : {true, false}) {
    EXPECT_EQ(Shown([utc](Writer& out) { out.DateTimeUtc(1645557742, 123456000, utc); }),
              "2022-02-22T19:22:22.123456Z");
  }
  EXPECT_EQ(Shown([](Writer& out) { out.LocalDateTime(-1, 1); }), "1969-12-31T23:59:59.000000001");
}

TEST(KeyJsonTest, WritesIntegersAsNumbersAndEverythingElseAsText) {
  EXPECT_EQ(Key([](Writer& out) { out.Int(-7); }), "-7");
  EXPECT_EQ(Key([](Writer& out) { out.String("a\"b"); }), R"("a\"b")");
  EXPECT_EQ(Key([](Writer& out) { out.Bool(false); }), R"("false")");
  EXPECT_EQ(Key([](Writer& out) { out.Date(19045); }), R"("2022-02-22")");
  EXPECT_EQ(Key([](Writer& out) { out.ListHeader(0); }), std::nullopt);
}

}  // namespace
}  // namespace apex::neo4j
