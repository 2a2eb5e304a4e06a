#include "core/few.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace apex {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(FewTest, KeepsItsOrderWhileItGrows) {
  Few<std::string> few;
  EXPECT_THAT(few, IsEmpty());
  few.push_back("a");
  EXPECT_THAT(few, ElementsAre("a"));
  few.push_back("b");
  few.push_back("c");
  EXPECT_THAT(few, ElementsAre("a", "b", "c"));
  EXPECT_EQ(few.front(), "a");
  EXPECT_EQ(few.back(), "c");
  EXPECT_EQ(few[1], "b");
}

TEST(FewTest, IsMadeOfAListOrAVector) {
  EXPECT_THAT((Few<int>{7}), ElementsAre(7));
  EXPECT_THAT((Few<int>{7, 8}), ElementsAre(7, 8));
  EXPECT_THAT(Few<int>(std::vector<int>{7, 8, 9}), ElementsAre(7, 8, 9));
  EXPECT_THAT(Few<int>(std::vector<int>{}), IsEmpty());
}

TEST(FewTest, TakesOutWhatIsEqualDownToNothing) {
  Few<int> few{1, 2, 3};
  few.Erase(2);
  EXPECT_THAT(few, ElementsAre(1, 3));
  few.Erase(1);
  EXPECT_THAT(few, ElementsAre(3));
  few.Erase(4);
  few.Erase(3);
  EXPECT_THAT(few, IsEmpty());
  few.push_back(5);
  EXPECT_THAT(few, ElementsAre(5));
}

TEST(FewTest, IsEmptyOnceItWasMovedFrom) {
  Few<std::shared_ptr<int>> one{std::make_shared<int>(1)};
  const Few<std::shared_ptr<int>> taken = std::move(one);
  EXPECT_EQ(taken.front().use_count(), 1);
  EXPECT_THAT(one, IsEmpty());  // NOLINT(bugprone-use-after-move): what it promises
}

}  // namespace
}  // namespace apex
