#include "core/event_block.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace apex {
namespace {

// A block under construction, in memory that is aligned as a backend's is.
class Block {
 public:
  std::size_t Append(RecordKind kind, char op, const std::vector<std::string>& texts,
                     std::size_t shape = 0, std::size_t trace = 0) {
    RecordPlan plan{};
    plan.head.kind = kind;
    plan.head.op = op;
    plan.head.command = 7;
    plan.head.shape_distance = static_cast<std::uint32_t>(shape == 0 ? 0 : used_ - shape + 8);
    plan.head.trace_distance = static_cast<std::uint32_t>(trace == 0 ? 0 : used_ - trace + 8);
    for (std::size_t i = 0; i < texts.size(); i++) {
      if (texts[i] != "-") plan.Add(static_cast<int>(i), texts[i].size());
    }
    words_.resize((used_ + plan.Bytes()) / 8);
    char* fields[kFieldsMax] = {};
    plan.Place(bytes() + used_, fields);
    for (std::size_t i = 0; i < texts.size(); i++) {
      if (texts[i] != "-") std::memcpy(fields[i], texts[i].data(), texts[i].size());
    }
    const std::size_t at = used_;
    used_ += plan.Bytes();
    return at + 8;  // One more, so that 0 stands for none.
  }

  char* bytes() { return reinterpret_cast<char*>(words_.data()); }
  std::size_t size() const { return used_; }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t used_ = 0;
};

std::string TextOf(const Field& field) {
  return field.data == nullptr ? "-" : std::string(field.data, field.bytes);
}

TEST(EventBlockTest, GivesBackTheFieldsInTheirPlaces) {
  Block block;
  const std::size_t shape = block.Append(RecordKind::kShape, '\0', {"shape"});
  block.Append(RecordKind::kRow, 'U', {"before", "after, longer", "-"}, shape);
  block.Append(RecordKind::kWritten, 'D', {"[1]", "-", "-", "-", "-", "", "error"}, shape);

  BlockReader reader(block.bytes(), block.size());
  Record record;
  ASSERT_TRUE(reader.Next(&record));
  EXPECT_EQ(record.head.kind, RecordKind::kShape);
  ASSERT_TRUE(reader.Next(&record));
  EXPECT_EQ(record.head.op, 'U');
  EXPECT_EQ(record.head.command, 7U);
  EXPECT_EQ(TextOf(record.fields[0]), "before");
  EXPECT_EQ(TextOf(record.fields[1]), "after, longer");
  EXPECT_EQ(TextOf(record.fields[2]), "-");
  Record back;
  ASSERT_TRUE(reader.ReadBack(record.head.shape_distance, RecordKind::kShape, &back));
  EXPECT_EQ(TextOf(back.fields[0]), "shape");
  EXPECT_FALSE(reader.ReadBack(record.head.trace_distance, RecordKind::kTraceparent, &back));
  ASSERT_TRUE(reader.Next(&record));
  EXPECT_EQ(TextOf(record.fields[0]), "[1]");
  EXPECT_EQ(TextOf(record.fields[5]), "");
  EXPECT_EQ(TextOf(record.fields[6]), "error");
  EXPECT_FALSE(reader.Next(&record));
  EXPECT_FALSE(reader.malformed());
}

TEST(EventBlockTest, StaysTrueWhenItIsCutOffMovedOrJoined) {
  Block block;
  const std::size_t shape = block.Append(RecordKind::kShape, '\0', {"outer"});
  block.Append(RecordKind::kRow, 'I', {"-", "one"}, shape);
  const std::size_t whole = block.size();
  const std::size_t inner = block.Append(RecordKind::kShape, '\0', {"inner"});
  block.Append(RecordKind::kRow, 'I', {"-", "two"}, inner);

  // A savepoint that is rolled back leaves the first run, one that writes its own takes the second.
  for (const auto& [from, size] :
       {std::pair{std::size_t{0}, whole}, {whole, block.size() - whole}}) {
    std::vector<std::uint64_t> copy(size / 8);
    std::memcpy(copy.data(), block.bytes() + from, size);
    BlockReader reader(reinterpret_cast<const char*>(copy.data()), size);
    Record record;
    Record back;
    ASSERT_TRUE(reader.Next(&record));
    ASSERT_TRUE(reader.Next(&record));
    ASSERT_TRUE(reader.ReadBack(record.head.shape_distance, RecordKind::kShape, &back));
    EXPECT_EQ(TextOf(back.fields[0]), from == 0 ? "outer" : "inner");
    EXPECT_FALSE(reader.Next(&record));
    EXPECT_FALSE(reader.malformed());
  }
}

TEST(EventBlockTest, AnEmptyBlockHasNoRecord) {
  BlockReader reader(nullptr, 0);
  Record record;
  EXPECT_FALSE(reader.Next(&record));
  EXPECT_FALSE(reader.malformed());
}

TEST(EventBlockTest, ABlockThatIsCutInsideARecordIsMalformed) {
  Block block;
  block.Append(RecordKind::kWritten, 'D', {"[1]", "aggregate"});
  for (std::size_t size = 1; size < block.size(); size++) {
    BlockReader reader(block.bytes(), size);
    Record record;
    EXPECT_FALSE(reader.Next(&record)) << size;
    EXPECT_TRUE(reader.malformed()) << size;
  }
}

// Under the address sanitizer of `make check-deep` this also proves that nothing outside is read.
TEST(EventBlockTest, WhateverBytesItIsGivenItStaysInsideThem) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Block block;
  const std::size_t shape = block.Append(RecordKind::kShape, '\0', {"shape"});
  const std::size_t trace = block.Append(RecordKind::kTraceparent, '\0', {"trace"});
  for (int i = 0; i < 5; i++) {
    block.Append(RecordKind::kRow, 'U',
                 {"before", std::string(static_cast<std::size_t>(i) * 9, 'x'), "s"}, shape, trace);
  }
  for (int round = 0; round < 20000; round++) {
    // A heap block of exactly this size, so that a sanitizer sees its end.
    const std::size_t size = random() % 4 == 0 ? 1 + random() % block.size() : block.size();
    std::vector<std::uint64_t> bytes((size + 7) / 8);
    auto* copy = reinterpret_cast<char*>(bytes.data());
    std::memcpy(copy, block.bytes(), size);
    for (unsigned n = random() % 4; n > 0 && size > 0; n--)
      copy[random() % size] = static_cast<char>(random());
    BlockReader reader(copy, size);
    Record record;
    Record back;
    std::size_t sum = 0;
    while (reader.Next(&record)) {
      for (const Field& field : record.fields) {
        for (std::uint32_t i = 0; i < field.bytes; i++)
          sum += static_cast<unsigned char>(field.data[i]);
      }
      if (reader.ReadBack(record.head.shape_distance, RecordKind::kShape, &back))
        sum += back.head.bytes;
    }
    EXPECT_GE(sum, 0U);
  }
}

}  // namespace
}  // namespace apex
