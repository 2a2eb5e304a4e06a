#include "verify/digest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace apex::verify {
namespace {

constexpr int64_t kNewest = 100;

StoredRow Row(std::string name, std::string title, int64_t version = 0) {
  StoredRow row;
  row.name = std::move(name);
  row.version = version;
  row.fields = {{"title", std::move(title)}};
  return row;
}

StoredRow Direction(std::string name, std::vector<float> vector) {
  StoredRow row = Row(std::move(name), "t");
  row.vector = std::move(vector);
  row.is_direction = true;
  return row;
}

Digest Sum(const std::vector<StoredRow>& rows) {
  Digest sum;
  for (const StoredRow& row : rows) sum.Add(DigestOf(row, kNewest));
  return sum;
}

TEST(DigestTest, IsTheSameInWhateverOrderRowsCome) {
  EXPECT_TRUE(Sum({Row("1", "a"), Row("2", "b")}).Equals(Sum({Row("2", "b"), Row("1", "a")})));
}

TEST(DigestTest, DoesNotDependOnTheVersionOfARow) {
  EXPECT_TRUE(Sum({Row("1", "a", 0)}).Equals(Sum({Row("1", "a", 77)})));
}

TEST(DigestTest, NoticesAChangedFieldAMissingRowAndACopy) {
  const Digest whole = Sum({Row("1", "a"), Row("2", "b")});
  EXPECT_FALSE(whole.Equals(Sum({Row("1", "a"), Row("2", "c")})));
  EXPECT_FALSE(whole.Equals(Sum({Row("1", "a")})));
  EXPECT_FALSE(whole.Equals(Sum({Row("1", "a"), Row("2", "b"), Row("2", "b")})));
}

TEST(DigestTest, NoticesContentsThatTwoRowsHaveExchanged) {
  EXPECT_FALSE(Sum({Row("1", "a"), Row("2", "b")}).Equals(Sum({Row("1", "b"), Row("2", "a")})));
  EXPECT_FALSE(Sum({Direction("1", {1, 0}), Direction("2", {0, 1})})
                   .Equals(Sum({Direction("1", {0, 1}), Direction("2", {1, 0})})));
}

TEST(DigestTest, NoticesARowWithoutAVersionAndOneThatIsAhead) {
  StoredRow unversioned = Row("1", "a");
  unversioned.version.reset();
  EXPECT_FALSE(Sum({Row("1", "a")}).Equals(Sum({unversioned})));
  EXPECT_FALSE(Sum({Row("1", "a")}).Equals(Sum({Row("1", "a", kNewest + 1)})));
}

TEST(DigestTest, TellsFieldsThatReadTheSameOneAfterTheOther) {
  StoredRow one = Row("1", "");
  StoredRow other = Row("1", "");
  one.fields = {{"a", "bc"}};
  other.fields = {{"ab", "c"}};
  EXPECT_FALSE(Sum({one}).Equals(Sum({other})));
}

TEST(DigestTest, TakesADirectionForTheSameWhateverItsLength) {
  EXPECT_TRUE(Sum({Direction("1", {3, 4})}).Equals(Sum({Direction("1", {0.6F, 0.8F})})));
  EXPECT_FALSE(Sum({Direction("1", {3, 4})}).Equals(Sum({Direction("1", {4, 3})})));
  EXPECT_FALSE(Sum({Direction("1", {3, 4})}).Equals(Sum({Direction("1", {-3, -4})})));
}

TEST(DigestTest, ComparesOtherVectorsBitByBit) {
  StoredRow one = Row("1", "a");
  one.vector = {1, 2};
  StoredRow other = one;
  other.vector[1] = std::nextafter(2.0F, 3.0F);
  EXPECT_FALSE(Sum({one}).Equals(Sum({other})));
}

TEST(RangeDigestsTest, PutsRowsOfOneNameIntoOneRange) {
  RangeDigests digests;
  digests.Add(Row("1", "a"), kNewest);
  digests.Add(Row("1", "b"), kNewest);
  EXPECT_EQ(digests[RangeOf("1")].rows, 2u);
}

}  // namespace
}  // namespace apex::verify
