#include "core/traceparent.h"

#include <gtest/gtest.h>

#include <string>

namespace apex {
namespace {

const std::string kValue = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

std::string With(std::size_t at, const std::string& text) {
  return std::string(kValue).replace(at, text.size(), text);
}

TEST(TraceparentTest, AcceptsVersion00) { EXPECT_TRUE(IsTraceparent(kValue)); }

TEST(TraceparentTest, AcceptsALaterVersionThatAddsFields) {
  EXPECT_TRUE(IsTraceparent(With(0, "01") + "-more"));
  EXPECT_FALSE(IsTraceparent(With(0, "01") + "more"));
  EXPECT_FALSE(IsTraceparent(kValue + "-more"));
  EXPECT_FALSE(IsTraceparent(With(0, "01") + "- "));
  EXPECT_FALSE(IsTraceparent(With(0, "01") + "-" + std::string(300, 'x')));
}

TEST(TraceparentTest, RefusesWhatTheStandardForbids) {
  EXPECT_FALSE(IsTraceparent(""));
  EXPECT_FALSE(IsTraceparent("hello"));
  EXPECT_FALSE(IsTraceparent(kValue.substr(1)));
  EXPECT_FALSE(IsTraceparent(With(0, "ff")));
  EXPECT_FALSE(IsTraceparent(With(3, "0AF7")));
  EXPECT_FALSE(IsTraceparent(With(2, "_")));
  EXPECT_FALSE(IsTraceparent(With(53, "0x")));
  EXPECT_FALSE(IsTraceparent(With(3, std::string(32, '0'))));
  EXPECT_FALSE(IsTraceparent(With(36, std::string(16, '0'))));
}

}  // namespace
}  // namespace apex
