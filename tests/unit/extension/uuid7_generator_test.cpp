#include "core/uuid7_generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

namespace apex {
namespace {

constexpr std::int64_t kNow = 1'645'557'742'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kHour = 3'600'000 * kMillisecond;
constexpr std::int64_t kProcess = 4711;

// What FillRandom, a plain function, draws from. Each test starts it anew; the seed is fixed, so a
// failure repeats.
struct Source {
  std::mt19937_64 engine{20220222};
  bool fails = false;
  bool all_ones = false;
  int fills = 0;
  std::size_t bytes = 0;
};
Source source;

bool FillFromSource(void* buffer, std::size_t bytes) {
  if (source.fails) return false;
  ++source.fills;
  source.bytes = bytes;
  auto* out = static_cast<unsigned char*>(buffer);
  std::generate(out, out + bytes, [] {
    return source.all_ones ? static_cast<unsigned char>(0xFF)
                           : static_cast<unsigned char>(source.engine());
  });
  return true;
}

class Uuid7GeneratorTest : public testing::Test {
 protected:
  void SetUp() override { source = Source{}; }

  Uuid Next(std::int64_t unix_ns, std::int64_t process = kProcess) {
    const std::optional<Uuid> uuid = generator_.Next(unix_ns, process);
    EXPECT_TRUE(uuid);
    return uuid.value_or(Uuid{});
  }

  Uuid7Generator generator_{FillFromSource};
};

TEST_F(Uuid7GeneratorTest, CarriesVersionVariantAndMillisecond) {
  const Uuid uuid = Next(kNow);
  EXPECT_EQ(UuidVersion(uuid), 7);
  EXPECT_EQ(Uuid7UnixMs(uuid), kNow / kMillisecond);
}

TEST_F(Uuid7GeneratorTest, FractionOfTheMillisecondStandsInRandA) {
  const Uuid uuid = Next(kNow + kMillisecond / 2);
  EXPECT_EQ((uuid[6] & 0x0F) << 8 | uuid[7], 0x800);
}

TEST_F(Uuid7GeneratorTest, RisesWhenTheClockStandsStill) {
  Uuid last = Next(kNow);
  for (int i = 0; i < 1'000'000; ++i) {
    const Uuid uuid = Next(kNow);
    ASSERT_LT(last, uuid) << i;
    last = uuid;
  }
  EXPECT_LE(*Uuid7UnixMs(last), kNow / kMillisecond + 1)
      << "a million ids on one tick stay within a millisecond";
}

TEST_F(Uuid7GeneratorTest, RisesWhenTheClockStepsBack) {
  Uuid last = Next(kNow);
  for (int i = 0; i < 10'000; ++i) {
    const Uuid uuid = Next(kNow - kHour + i * kMillisecond);
    ASSERT_LT(last, uuid) << i;
    last = uuid;
  }
  EXPECT_EQ(Uuid7UnixMs(last), kNow / kMillisecond) << "time stands still, it does not run ahead";
}

TEST_F(Uuid7GeneratorTest, FollowsTheClockAgainOnceItHasCaughtUp) {
  Next(kNow);
  Next(kNow - kHour);
  EXPECT_EQ(Uuid7UnixMs(Next(kNow + kMillisecond)), kNow / kMillisecond + 1);
}

TEST_F(Uuid7GeneratorTest, OverflowOfTheRandomBitsMovesTheTimeByOneTick) {
  source.all_ones = true;
  const Uuid first = Next(kNow);
  EXPECT_EQ(first,
            MakeUuid7(std::uint64_t{kNow / kMillisecond} << kTickFractionBits, kUuid7TailMax));
  const Uuid second = Next(kNow);
  EXPECT_EQ(second, MakeUuid7((std::uint64_t{kNow / kMillisecond} << kTickFractionBits) + 1,
                              kUuid7TailMax));
  EXPECT_LT(first, second);
}

TEST_F(Uuid7GeneratorTest, OverflowOfTheFractionCarriesIntoTheMillisecond) {
  source.all_ones = true;
  const Uuid first = Next(kNow + kMillisecond - 1);
  const Uuid second = Next(kNow + kMillisecond - 1);
  EXPECT_LT(first, second);
  EXPECT_EQ(Uuid7UnixMs(second), kNow / kMillisecond + 1);
}

TEST_F(Uuid7GeneratorTest, TimesBefore1970CountAs1970) { EXPECT_EQ(Uuid7UnixMs(Next(-kHour)), 0); }

TEST_F(Uuid7GeneratorTest, RandomBitsDoNotRepeatOverAMillion) {
  std::set<Uuid> seen;
  for (int i = 0; i < 1'000'000; ++i) seen.insert(*generator_.At(0, kProcess));
  EXPECT_EQ(seen.size(), 1'000'000U);
}

TEST_F(Uuid7GeneratorTest, GivenTimeLeavesTheOrderAlone) {
  const Uuid first = Next(kNow);
  generator_.At((std::uint64_t{1} << 60) - 1, kProcess);
  EXPECT_EQ(Uuid7UnixMs(Next(kNow)), Uuid7UnixMs(first));
}

TEST_F(Uuid7GeneratorTest, FailureOfTheSourceGivesNoIdAndIsRecoveredFrom) {
  source.fails = true;
  EXPECT_FALSE(generator_.Next(kNow, kProcess));
  EXPECT_FALSE(generator_.At(0, kProcess));
  source.fails = false;
  EXPECT_TRUE(generator_.Next(kNow, kProcess));
}

TEST_F(Uuid7GeneratorTest, ForkedProcessNeverUsesItsParentsBits) {
  Next(kNow);
  Uuid7Generator child = generator_;
  const Uuid of_parent = *generator_.Next(kNow + kHour, kProcess);
  const Uuid of_child = *child.Next(kNow + kHour, kProcess + 1);
  EXPECT_EQ(source.fills, 2) << "the child filled its own pool";
  EXPECT_NE(of_parent, of_child);
}

TEST_F(Uuid7GeneratorTest, ForkedProcessStartsItsOwnOrder) {
  Next(kNow);
  EXPECT_EQ(Uuid7UnixMs(Next(kNow - kHour, kProcess + 1)), (kNow - kHour) / kMillisecond);
}

TEST(RandomPoolTest, AsksTheSourceOnceForManyAndErasesWhatItHandedOut) {
  source = Source{};
  source.all_ones = true;
  RandomPool pool(FillFromSource);
  ASSERT_TRUE(pool.Take(kProcess));
  const std::size_t words = source.bytes / sizeof(std::uint64_t);
  for (std::size_t i = 1; i < words; ++i) ASSERT_TRUE(pool.Take(kProcess));
  EXPECT_EQ(source.fills, 1);

  unsigned char memory[sizeof(pool)];
  std::memcpy(memory, &pool, sizeof(pool));
  EXPECT_EQ(std::search_n(memory, memory + sizeof(memory), 8, 0xFF), memory + sizeof(memory));

  ASSERT_TRUE(pool.Take(kProcess));
  EXPECT_EQ(source.fills, 2);
}

}  // namespace
}  // namespace apex
