#include "stores/redis/glob.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace apex::redis {
namespace {

struct Case {
  const char* pattern;
  const char* text;
  bool matches;
};

class GlobTest : public testing::TestWithParam<Case> {};

TEST_P(GlobTest, DecidesAsRedisDoes) {
  EXPECT_EQ(GlobMatch(GetParam().pattern, GetParam().text), GetParam().matches)
      << GetParam().pattern << " against " << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Patterns, GlobTest,
    testing::Values(Case{"doc:1", "doc:1", true}, Case{"doc:1", "doc:12", false},
                    Case{"doc:12", "doc:1", false}, Case{"*", "anything", true},
                    Case{"**", "anything", true}, Case{"doc:*", "doc:", true},
                    Case{"query:*7*", "query:a7b", true}, Case{"query:*7*", "query:7", true},
                    Case{"query:*7*", "query:8", false}, Case{"*a*b*c", "xaxbxbxc", true},
                    Case{"*a*b*c", "xaxcxb", false}, Case{"a*b", "ab", true},
                    Case{"a?c", "abc", true}, Case{"a?c", "ac", false}, Case{"?", "", false},
                    Case{"", "", true}, Case{"", "a", false}, Case{"h[ae]llo", "hello", true},
                    Case{"h[ae]llo", "hillo", false}, Case{"h[^e]llo", "hallo", true},
                    Case{"h[^e]llo", "hello", false}, Case{"h[a-c]llo", "hbllo", true},
                    Case{"h[c-a]llo", "hbllo", true}, Case{"h[a-c]llo", "hdllo", false},
                    Case{"[]a", "a", false}, Case{"[]", "a", false}, Case{"[^]", "a", true},
                    Case{"[\\]]", "]", true}, Case{"[\\^a]", "^", true}, Case{"[a^]", "^", true},
                    Case{"[abc", "b", true}, Case{"[abc", "d", false}, Case{"[", "a", false},
                    Case{"[^", "a", true}, Case{"[a-", "-", true}, Case{"[a-]", "b", false},
                    Case{"\\*", "*", true}, Case{"\\*", "a", false}, Case{"a\\", "a\\", true},
                    Case{"\\\\", "\\", true}, Case{"a\\?c", "abc", false},
                    Case{"*\\**", "a*b", true}, Case{"*\\**", "ab", false}));

TEST(GlobEscapeTest, AnEscapedTextMatchesOnlyItself) {
  for (const std::string text : {"*", "?", "[a-z]", "\\", "a*b?c[d]e\\f", "plain", "[", "]", "^"}) {
    const std::string pattern = EscapeGlob(text);
    EXPECT_TRUE(GlobMatch(pattern, text)) << text;
    for (const char* other : {"a", "b", "anything", "*x", "aXbXcXdXeXf", ""}) {
      EXPECT_FALSE(GlobMatch(pattern, other)) << text << " against " << other;
    }
  }
}

TEST(GlobTimeTest, ManyStarsStayCheap) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "a*";
  EXPECT_FALSE(GlobMatch(pattern + "b", std::string(5000, 'a')));
}

TEST(PatternSetTest, AgreesWithMatchingEachPatternAlone) {
  constexpr uint64_t kSeed = 4711;
  std::mt19937_64 random(kSeed);
  constexpr std::string_view kAlphabet = "ab12:*?[]^-\\";
  const auto text = [&](size_t size_max) {
    std::string made;
    for (size_t size = 1 + random() % size_max; made.size() < size;)
      made += kAlphabet[random() % kAlphabet.size()];
    return made;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> patterns;
    for (size_t count = 1 + random() % 12; patterns.size() < count;) patterns.push_back(text(8));
    const PatternSet set(patterns);
    const std::string& scan = set.ScanPattern();
    for (int i = 0; i < 60; ++i) {
      const std::string key = text(10);
      bool expected = false;
      for (const std::string& pattern : patterns) expected |= GlobMatch(pattern, key);
      ASSERT_EQ(set.Matches(key), expected) << key << ", round " << round << ", seed " << kSeed;
      ASSERT_TRUE(!expected || GlobMatch(scan, key))
          << key << " is not scanned by " << scan << ", seed " << kSeed;
    }
  }
}

TEST(PatternSetTest, AgreesWithMatchingEachOfManyPatternsAlone) {
  constexpr uint64_t kSeed = 4712;
  std::mt19937_64 random(kSeed);
  // Few words, so that patterns share their runs, and begin, end and hold one another.
  const std::vector<std::string> words{"query:", "*",  "?", "[a-z]", "[^:]", "\\*",        ":",
                                       "about ", "12", "1", "2",     "\xff", "-tail-of-it"};
  const auto text = [&](size_t words_max) {
    std::string made;
    for (size_t left = 5 + random() % (words_max - 4); left > 0; --left)
      made += words[random() % words.size()];
    return made;
  };
  int matched = 0;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> patterns;
    while (patterns.size() < 500) patterns.push_back("query:" + text(8));
    const PatternSet set(patterns);
    for (int i = 0; i < 200; ++i) {
      const std::string key = "query:" + text(12);
      const bool expected = std::ranges::any_of(
          patterns, [&](const std::string& pattern) { return GlobMatch(pattern, key); });
      matched += expected ? 1 : 0;
      ASSERT_EQ(set.Matches(key), expected) << key << ", round " << round << ", seed " << kSeed;
    }
  }
  EXPECT_GT(matched, 400);
  EXPECT_LT(matched, 3600);
}

TEST(PatternSetTest, ScansByTheCommonBeginning) {
  EXPECT_EQ(PatternSet({"query:*1*"}).ScanPattern(), "query:*1*");
  EXPECT_EQ(PatternSet({"app\\*:query:*1*", "app\\*:search:*1*"}).ScanPattern(), "app\\*:*");
  EXPECT_EQ(PatternSet({"a*", "b*"}).ScanPattern(), "*");
  EXPECT_TRUE(PatternSet({"query:*1*"}).ScansExactly());
  EXPECT_FALSE(PatternSet({"query:*1*", "query:*2*"}).ScansExactly());
}

}  // namespace
}  // namespace apex::redis
