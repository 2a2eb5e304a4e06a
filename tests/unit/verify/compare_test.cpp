#include "verify/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace apex::verify {
namespace {

using testing::ElementsAre;

StoredRow Row(std::string title, int64_t version) {
  StoredRow row;
  row.name = "7";
  row.key = "[7]";
  row.version = version;
  row.fields = {{"-[:BY]->(:Author)", "[1]"}, {"title", std::move(title)}};
  return row;
}

std::optional<Difference> CompareTo(const std::optional<StoredRow>& expected,
                                    const std::vector<StoredRow>& held, bool may_forget = false) {
  return Compare(expected, held, /*newest_version=*/100, may_forget);
}

TEST(CompareTest, FindsNothingWhereContentIsEqualAtAnyVersion) {
  EXPECT_FALSE(CompareTo(Row("a", 0), {Row("a", 55)}));
  EXPECT_FALSE(CompareTo(std::nullopt, {}));
}

TEST(CompareTest, NamesMissingRowsUnlessTheStoreMayForget) {
  const auto missing = CompareTo(Row("a", 0), {});
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->kind, Kind::kMissing);
  EXPECT_EQ(missing->held.key, "[7]");
  EXPECT_FALSE(CompareTo(Row("a", 0), {}, /*may_forget=*/true));
}

TEST(CompareTest, NamesExtraRows) {
  const auto extra = CompareTo(std::nullopt, {Row("a", 5)});
  ASSERT_TRUE(extra);
  EXPECT_EQ(extra->kind, Kind::kExtra);
  EXPECT_EQ(extra->held.version, 5);
}

TEST(CompareTest, SaysWhichPartIsStale) {
  StoredRow held = Row("b", 5);
  held.fields[0].text = "";
  const auto stale = CompareTo(Row("a", 0), {held});
  ASSERT_TRUE(stale);
  EXPECT_EQ(stale->kind, Kind::kStale);
  EXPECT_THAT(stale->details, ElementsAre("-[:BY]->(:Author) is nothing, should be [1]",
                                          "title is b, should be a"));
}

TEST(CompareTest, NoticesAVersionThatIsMissingOrAhead) {
  StoredRow unversioned = Row("a", 0);
  unversioned.version.reset();
  const auto without = CompareTo(Row("a", 0), {unversioned});
  ASSERT_TRUE(without);
  EXPECT_THAT(without->details, ElementsAre("it has no version"));
  const auto ahead = CompareTo(Row("a", 0), {Row("a", 101)});
  ASSERT_TRUE(ahead);
  EXPECT_TRUE(ahead->is_ahead);
}

TEST(CompareTest, NoticesCopies) {
  const auto twice = CompareTo(Row("a", 0), {Row("a", 5), Row("a", 6)});
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->copies.size(), 2u);
  EXPECT_THAT(twice->details, ElementsAre("it is there 2 times"));
}

TEST(SameVectorTest, ComparesDirectionsWithToleranceAndOthersExactly) {
  StoredRow expected;
  StoredRow held;
  expected.vector = {3, 4};
  held.vector = {0.6F, 0.80000001F};
  EXPECT_FALSE(SameVector(expected, held));
  expected.is_direction = true;
  EXPECT_TRUE(SameVector(expected, held));
  held.vector = {0.61F, 0.79F};
  EXPECT_FALSE(SameVector(expected, held));
  held.vector = {1};
  EXPECT_FALSE(SameVector(expected, held));
}

TEST(SameVectorTest, TakesVectorsWithoutLengthForTheSame) {
  StoredRow expected;
  expected.is_direction = true;
  expected.vector = {0, 0};
  StoredRow held = expected;
  EXPECT_TRUE(SameVector(expected, held));
  held.vector = {1, 0};
  EXPECT_FALSE(SameVector(expected, held));
}

}  // namespace
}  // namespace apex::verify
