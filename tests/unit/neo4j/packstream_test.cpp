#include "stores/neo4j/packstream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>

namespace apex::neo4j::packstream {
namespace {

using namespace std::string_literals;  // NOLINT(google-build-using-namespace): bytes with zeros

std::string Encoded(const std::function<void(Writer&)>& write) {
  std::string bytes;
  Writer writer(bytes);
  write(writer);
  return bytes;
}

Value Decoded(std::string_view bytes) {
  std::optional<Value> value = Decode(bytes);
  EXPECT_TRUE(value.has_value());
  EXPECT_TRUE(bytes.empty());
  return value.value_or(Value{});
}

TEST(PackStreamTest, WritesIntegersInTheShortestForm) {
  const std::vector<std::pair<int64_t, std::string>> cases{
      {0, "\0"s},
      {127, "\x7F"},
      {-16, "\xF0"},
      {-17, "\xC8\xEF"},
      {-128, "\xC8\x80"},
      {128, "\xC9\0\x80"s},
      {-129, "\xC9\xFF\x7F"},
      {32767, "\xC9\x7F\xFF"},
      {32768, "\xCA\0\0\x80\0"s},
      {-2147483648LL, "\xCA\x80\0\0\0"s},
      {2147483648LL, "\xCB\0\0\0\0\x80\0\0\0"s},
      {INT64_MAX, "\xCB\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"},
      {INT64_MIN, "\xCB\x80\0\0\0\0\0\0\0"s},
  };
  for (const auto& [number, bytes] : cases) {
    EXPECT_EQ(Encoded([number = number](Writer& out) { out.Int(number); }), bytes) << number;
    EXPECT_EQ(*Decoded(bytes).As<int64_t>(), number);
  }
}

TEST(PackStreamTest, BringsFloatsBackBitForBit) {
  for (double number :
       {0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, std::numeric_limits<double>::infinity()}) {
    const Value value = Decoded(Encoded([number](Writer& out) { out.Float(number); }));
    EXPECT_EQ(*value.As<double>(), number);
    EXPECT_EQ(std::signbit(*value.As<double>()), std::signbit(number));
  }
  EXPECT_TRUE(
      std::isnan(*Decoded(Encoded([](Writer& out) { out.Float(std::nan("")); })).As<double>()));
}

TEST(PackStreamTest, BringsStringsOfEveryLengthFormBack) {
  for (size_t size : {0, 15, 16, 255, 256, 65535, 65536}) {
    const std::string text(size, 'x');
    EXPECT_EQ(*Decoded(Encoded([&text](Writer& out) { out.String(text); })).As<std::string>(),
              text);
  }
  EXPECT_EQ(Encoded([](Writer& out) { out.String("ü"); }), "\x82\xC3\xBC");
}

TEST(PackStreamTest, BringsListsAndMapsOfEveryLengthFormBack) {
  for (size_t size : {0, 15, 16, 255, 256, 65536}) {
    const Value list = Decoded(Encoded([size](Writer& out) {
      out.ListHeader(size);
      for (size_t i = 0; i < size; ++i) out.Null();
    }));
    EXPECT_EQ(list.As<List>()->size(), size);
    const Value map = Decoded(Encoded([size](Writer& out) {
      out.MapHeader(size);
      for (size_t i = 0; i < size; ++i) {
        out.String(std::to_string(i));
        out.Bool(true);
      }
    }));
    EXPECT_EQ(map.As<Map>()->size(), size);
  }
}

TEST(PackStreamTest, FindsMembersOfAMap) {
  const Value map = Decoded(Encoded([](Writer& out) {
    out.MapHeader(2);
    out.String("name");
    out.String("value");
    out.String("number");
    out.Int(1);
  }));
  EXPECT_EQ(map.FindString("name"), "value");
  EXPECT_EQ(map.FindString("number"), "");
  EXPECT_EQ(map.Find("missing"), nullptr);
  EXPECT_EQ(Value{}.Find("name"), nullptr);
}

TEST(PackStreamTest, WritesTimesAsStructures) {
  EXPECT_EQ(Encoded([](Writer& out) { out.Date(-1); }), "\xB1\x44\xFF");
  EXPECT_EQ(Encoded([](Writer& out) { out.LocalDateTime(1, 2); }), "\xB2\x64\x01\x02");
  EXPECT_EQ(Encoded([](Writer& out) { out.DateTimeUtc(1, 2, true); }), "\xB3\x49\x01\x02\0"s);
  EXPECT_EQ(Encoded([](Writer& out) { out.DateTimeUtc(1, 2, false); }), "\xB3\x46\x01\x02\0"s);
  const Value date = Decoded("\xB1\x44\xFF");
  EXPECT_EQ(date.As<Structure>()->tag, 'D');
  EXPECT_EQ(*date.As<Structure>()->fields.front().As<int64_t>(), -1);
}

TEST(PackStreamTest, ReadsBytes) {
  EXPECT_EQ(Decoded("\xCC\x02\x01\x02").As<Bytes>()->data, "\x01\x02");
}

TEST(PackStreamTest, LeavesWhatFollowsTheValue) {
  std::string_view bytes = "\x01\x02";
  EXPECT_EQ(*Decode(bytes)->As<int64_t>(), 1);
  EXPECT_EQ(bytes, "\x02");
}

TEST(PackStreamTest, RefusesWhatIsCutShortUnknownOrTooDeep) {
  for (const std::string& bytes :
       {""s, "\xC9\x01"s, "\x85oops"s, "\xC4"s, "\xDB"s, "\x92\x01"s, "\xA1\x01\x01"s,
        "\xD6\xFF\xFF\xFF\xFF"s, "\xDA\xFF\xFF\xFF\xFF"s, "\xD2\xFF\xFF\xFF\xFF"s, "\xB1"s,
        "\xC1\0"s}) {
    std::string_view view = bytes;
    EXPECT_FALSE(Decode(view).has_value()) << bytes.size();
    EXPECT_EQ(view.size(), bytes.size());
  }
  std::string deep(kDepthMax + 1, '\x91');
  deep.push_back('\x01');
  std::string_view view = deep;
  EXPECT_FALSE(Decode(view).has_value());
}

}  // namespace
}  // namespace apex::neo4j::packstream
