#include "stores/qdrant/vector_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace apex::qdrant {
namespace {

RowId Row(int64_t id) { return {1, "[" + std::to_string(id) + "]"}; }

TEST(VectorMemoryTest, KnowsNothingOfARowThatWasNeverWritten) {
  EXPECT_EQ(VectorMemory().VersionWith(Row(1), "vector"), std::nullopt);
  EXPECT_EQ(VectorMemory().VersionWith(Row(1), ""), std::nullopt);
}

TEST(VectorMemoryTest, TellsTheVersionOnlyForTheVeryVector) {
  const std::string vector(1536, 'v');
  VectorMemory memory;
  memory.Remember(Row(1), 10, vector);
  EXPECT_EQ(memory.VersionWith(Row(1), vector), 10);
  EXPECT_EQ(memory.VersionWith(Row(2), vector), std::nullopt);
  EXPECT_EQ(memory.VersionWith(RowId{2, "[1]"}, vector), std::nullopt);
  EXPECT_EQ(memory.VersionWith(Row(1), vector.substr(4)), std::nullopt);
  EXPECT_EQ(memory.VersionWith(Row(1), vector + std::string(4, '\0')), std::nullopt);
  for (size_t i = 0; i < vector.size(); ++i) {
    std::string other = vector;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_EQ(memory.VersionWith(Row(1), other), std::nullopt) << i;
  }
}

TEST(VectorMemoryTest, TellsWordsThatChangedPlacesApart) {
  std::string vector;
  for (char c = 0; c < 64; ++c) vector.append(8, c);
  std::string swapped = vector;
  std::swap_ranges(swapped.begin(), swapped.begin() + 8, swapped.begin() + 32);
  VectorMemory memory;
  memory.Remember(Row(1), 10, vector);
  EXPECT_EQ(memory.VersionWith(Row(1), swapped), std::nullopt);
}

TEST(VectorMemoryTest, TheLaterVersionCounts) {
  VectorMemory memory;
  memory.Remember(Row(1), 10, "old vector");
  memory.Remember(Row(1), 20, "new vector");
  EXPECT_EQ(memory.VersionWith(Row(1), "old vector"), std::nullopt);
  EXPECT_EQ(memory.VersionWith(Row(1), "new vector"), 20);
}

TEST(VectorMemoryTest, ForgetsEarlierRowsForLaterOnesAndStaysOfItsSize) {
  constexpr int64_t kRows = 3 * kVectorsRemembered;
  VectorMemory memory;
  for (int64_t id = 1; id <= kRows; ++id) memory.Remember(Row(id), id, std::to_string(id));
  size_t known = 0;
  for (int64_t id = 1; id <= kRows; ++id) {
    const auto version = memory.VersionWith(Row(id), std::to_string(id));
    if (!version) continue;
    EXPECT_EQ(version, id);
    ++known;
  }
  EXPECT_LE(known, kVectorsRemembered);
  EXPECT_GT(known, kVectorsRemembered / 2);
  EXPECT_EQ(memory.VersionWith(Row(kRows), std::to_string(kRows)), kRows);
}

}  // namespace
}  // namespace apex::qdrant
