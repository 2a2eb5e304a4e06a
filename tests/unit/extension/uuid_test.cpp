#include "core/uuid.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace apex {
namespace {

// RFC 9562, appendix A.6: 2022-02-22 19:22:22.000 UTC.
constexpr std::string_view kVector = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F";
constexpr std::int64_t kVectorMs = 1645557742000;

Uuid Parsed(std::string_view text) {
  const std::optional<Uuid> uuid = ParseUuid(text);
  EXPECT_TRUE(uuid) << text;
  return uuid.value_or(Uuid{});
}

TEST(UuidTest, AppendixVectorGivesItsTime) { EXPECT_EQ(Uuid7UnixMs(Parsed(kVector)), kVectorMs); }

TEST(UuidTest, AppendixVectorIsMadeFromItsParts) {
  const std::uint64_t tick = (std::uint64_t{kVectorMs} << kTickFractionBits) | 0xCC3;
  EXPECT_EQ(MakeUuid7(tick, 0x18C4DC0C0C07398F), Parsed(kVector));
}

TEST(UuidTest, VersionsAreToldApart) {
  EXPECT_EQ(UuidVersion(Parsed("C232AB00-9414-11EC-B3C8-9F6BDECED846")), 1);
  EXPECT_EQ(UuidVersion(Parsed("919108F7-52D1-4320-9BAC-F847DB4148A8")), 4);
  EXPECT_EQ(UuidVersion(Parsed("1EC9414C-232A-6B00-B3C8-9F6BDECED846")), 6);
  EXPECT_EQ(UuidVersion(Parsed(kVector)), 7);
}

TEST(UuidTest, OtherVariantsHaveNoVersion) {
  EXPECT_FALSE(UuidVersion(Parsed("00000000-0000-0000-0000-000000000000")));
  EXPECT_FALSE(UuidVersion(Parsed("ffffffff-ffff-ffff-ffff-ffffffffffff")));
  EXPECT_FALSE(UuidVersion(Parsed("017F22E2-79B0-7CC3-18C4-DC0C0C07398F")));
  EXPECT_FALSE(UuidVersion(Parsed("017F22E2-79B0-7CC3-C8C4-DC0C0C07398F")));
}

TEST(UuidTest, OnlyVersion7HasATime) {
  EXPECT_FALSE(Uuid7UnixMs(Parsed("C232AB00-9414-11EC-B3C8-9F6BDECED846")));
  EXPECT_FALSE(Uuid7UnixMs(Parsed("919108F7-52D1-4320-9BAC-F847DB4148A8")));
}

TEST(UuidTest, ParsesEveryFormOfPostgresql) {
  const Uuid expected = Parsed(kVector);
  EXPECT_EQ(ParseUuid("017f22e279b07cc398c4dc0c0c07398f"), expected);
  EXPECT_EQ(ParseUuid("{017F22E2-79B0-7CC3-98C4-DC0C0C07398F}"), expected);
  EXPECT_EQ(ParseUuid("{017f22e279b07cc398c4dc0c0c07398f}"), expected);
  EXPECT_EQ(ParseUuid("017f-22e2-79b0-7cc3-98c4-dc0c-0c07-398f"), expected);
}

TEST(UuidTest, RefusesWhatIsNoUuid) {
  for (const std::string_view text :
       {"", "{}", "{", "x", "not-a-uuid", "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        " 017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f ",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2--79b07cc398c4dc0c0c07398f",
        "-017f22e279b07cc398c4dc0c0c07398f", "017f22e279b07cc398c4dc0c0c07398f-",
        "01-7f22e279b07cc398c4dc0c0c07398f"}) {
    EXPECT_FALSE(ParseUuid(text)) << text;
  }
}

TEST(UuidTest, TicksKeepTheOrderOfEveryMicrosecondOfAMillisecond) {
  for (std::int64_t us = 1; us <= 1000; ++us) {
    EXPECT_LT(TickOfUnixMicroseconds(us - 1), TickOfUnixMicroseconds(us)) << us;
  }
  EXPECT_EQ(TickOfUnixMicroseconds(1000), kTickFractions);
}

TEST(UuidTest, BoundsEncloseTheirMillisecond) {
  const Uuid lower = Uuid7LowerBound(kVectorMs);
  const Uuid upper = Uuid7UpperBound(kVectorMs);
  EXPECT_EQ(lower, Parsed("017F22E2-79B0-7000-8000-000000000000"));
  EXPECT_EQ(upper, Parsed("017F22E2-79B0-7FFF-BFFF-FFFFFFFFFFFF"));
  EXPECT_LT(Uuid7UpperBound(kVectorMs - 1), lower);
  EXPECT_LT(upper, Uuid7LowerBound(kVectorMs + 1));
}

TEST(UuidTest, BoundsOutsideTheRangeStillCompareLikeTheirTime) {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const Uuid first = MakeUuid7(0, 0);
  const Uuid last = MakeUuid7((std::uint64_t{1} << 60) - 1, kUuid7TailMax);
  EXPECT_EQ(Uuid7LowerBound(kMin), first);
  EXPECT_EQ(Uuid7LowerBound(-1), first);
  EXPECT_LT(Uuid7UpperBound(-1), first);
  EXPECT_LT(Uuid7UpperBound(kMin), first);
  EXPECT_EQ(Uuid7UpperBound(kMax), last);
  EXPECT_EQ(Uuid7UpperBound(kUuid7MsMax + 1), last);
  EXPECT_GT(Uuid7LowerBound(kUuid7MsMax + 1), last);
  EXPECT_GT(Uuid7LowerBound(kMax), last);
}

TEST(UuidTest, EdgesOfTheRangeAreExact) {
  EXPECT_EQ(Uuid7UnixMs(Uuid7LowerBound(0)), 0);
  EXPECT_EQ(Uuid7UnixMs(Uuid7UpperBound(kUuid7MsMax)), kUuid7MsMax);
}

}  // namespace
}  // namespace apex
