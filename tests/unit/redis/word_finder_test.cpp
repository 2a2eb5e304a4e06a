#include "stores/redis/word_finder.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace apex::redis {
namespace {

std::set<std::string> FoundIn(std::string_view text, const std::vector<std::string>& words) {
  std::set<std::string> found;
  WordFinder(words).AnyIn(text, [&](size_t index) {
    found.insert(words[index]);
    return false;
  });
  return found;
}

TEST(WordFinderTest, FindsWordsWithinAndAtTheEndOfOthers) {
  EXPECT_EQ(FoundIn("ushers", {"he", "she", "his", "hers", "s"}),
            (std::set<std::string>{"he", "she", "hers", "s"}));
  EXPECT_EQ(FoundIn("aaab", {"aaaa", "aab", "ab", "b"}), (std::set<std::string>{"aab", "ab", "b"}));
}

TEST(WordFinderTest, FindsNothingWithoutWordsOrText) {
  EXPECT_TRUE(FoundIn("anything", {}).empty());
  EXPECT_TRUE(FoundIn("", {"a"}).empty());
}

TEST(WordFinderTest, StopsAtTheFirstThatIsWanted) {
  int asked = 0;
  const WordFinder finder({"a", "b"});
  EXPECT_TRUE(finder.AnyIn("xabab", [&](size_t) { return ++asked == 2; }));
  EXPECT_EQ(asked, 2);
}

TEST(WordFinderTest, TellsAllBytesApart) {
  constexpr int kBytes = 256;
  std::vector<std::string> words;
  words.reserve(kBytes);
  for (int byte = 0; byte < kBytes; ++byte) words.emplace_back(2, static_cast<char>(byte));
  for (const std::string& word : words) {
    EXPECT_EQ(FoundIn(word, words), std::set<std::string>{word});
  }
}

TEST(WordFinderTest, AgreesWithLookingForEachWordAlone) {
  constexpr uint64_t kSeed = 815;
  std::mt19937_64 random(kSeed);
  const auto text = [&](size_t size_max, int letters) {
    std::string made;
    for (size_t size = 1 + random() % size_max; made.size() < size;)
      made += static_cast<char>('a' + random() % static_cast<uint64_t>(letters));
    return made;
  };
  for (int round = 0; round < 300; ++round) {
    const int letters = 1 + round % 4;
    std::set<std::string> words;
    for (size_t i = 0; i < 40; ++i) words.insert(text(6, letters));
    const std::string searched = text(40, letters + 1);
    std::set<std::string> expected;
    for (const std::string& word : words) {
      if (searched.find(word) != std::string::npos) expected.insert(word);
    }
    ASSERT_EQ(FoundIn(searched, {words.begin(), words.end()}), expected)
        << searched << ", round " << round << ", seed " << kSeed;
  }
}

}  // namespace
}  // namespace apex::redis
