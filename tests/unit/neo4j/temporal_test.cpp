#include "stores/neo4j/temporal.h"

#include <gtest/gtest.h>

namespace apex::neo4j {
namespace {

TEST(TemporalTest, CountsDaysFarBeforeAndAfterTheEpoch) {
  EXPECT_EQ(ParseDate("1970-01-01"), 0);
  EXPECT_EQ(ParseDate("1969-12-31"), -1);
  EXPECT_EQ(ParseDate("2000-02-29"), 11016);
  EXPECT_EQ(ParseDate("2022-02-22"), 19045);
  EXPECT_EQ(ParseDate("0001-01-01"), -719162);
  EXPECT_EQ(ParseDate("0001-12-31 BC"), -719163);
  EXPECT_EQ(ParseDate("0000-12-31"), -719163);
  EXPECT_EQ(ParseDate("4713-01-01 BC"), -2440550);
  EXPECT_EQ(ParseDate("-4712-01-01"), -2440550);
  EXPECT_EQ(ParseDate("5874897-12-31"), 2145042905);
}

TEST(TemporalTest, ReadsAnInstantInUtc) {
  EXPECT_EQ(ParseTimestamp("2022-02-22T19:22:22.123456Z", true), (Moment{1645557742, 123456000}));
  EXPECT_EQ(ParseTimestamp("1969-12-31T23:59:59.5Z", true), (Moment{-1, 500000000}));
  EXPECT_EQ(ParseTimestamp("2022-02-22 21:22:22+02", true), (Moment{1645557742, 0}));
  EXPECT_EQ(ParseTimestamp("2022-02-22 13:52:22.000001-05:30", true), (Moment{1645557742, 1000}));
  EXPECT_EQ(ParseTimestamp("1890-01-01 00:19:32+00:19:32", true), (Moment{-2524521600, 0}));
}

TEST(TemporalTest, ReadsAWallClock) {
  EXPECT_EQ(ParseTimestamp("2022-02-22T19:22:22", false), (Moment{1645557742, 0}));
  EXPECT_EQ(ParseTimestamp("0044-03-15T12:00:00 BC", false), (Moment{-63517780800, 0}));
  EXPECT_EQ(ParseTimestamp("-0043-03-15T12:00:00.000000", false), (Moment{-63517780800, 0}));
}

TEST(TemporalTest, RefusesEverythingElse) {
  for (const char* text : {"", "infinity", "2022-02", "2022-13-01", "2022-00-01", "2022-01-32",
                           "22-01-01", "2022-01-01x"}) {
    EXPECT_FALSE(ParseDate(text)) << text;
  }
  for (const char* text : {"", "2022-02-22", "2022-02-22T19:22", "2022-02-22T25:00:00",
                           "2022-02-22T19:22:22.", "2022-02-22T19:22:22Zx"}) {
    EXPECT_FALSE(ParseTimestamp(text, true)) << text;
    EXPECT_FALSE(ParseTimestamp(text, false)) << text;
  }
  EXPECT_FALSE(ParseTimestamp("2022-02-22T19:22:22", true));
  EXPECT_FALSE(ParseTimestamp("2022-02-22T19:22:22Z", false));
}

}  // namespace
}  // namespace apex::neo4j
