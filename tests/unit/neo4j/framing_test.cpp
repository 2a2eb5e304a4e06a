#include "stores/neo4j/framing.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace apex::neo4j {
namespace {

using namespace std::string_literals;  // NOLINT(google-build-using-namespace): bytes with zeros

TEST(FramingTest, PutsLengthBeforeAndZeroAfterAMessage) {
  std::string out;
  AppendChunked("ab", out);
  EXPECT_EQ(out, "\0\2ab\0\0"s);
}

TEST(FramingTest, BringsLargeMessagesBackWhateverPiecesTheyArriveIn) {
  for (size_t size : {1, 65534, 65535, 65536, 200000}) {
    std::string message;
    for (size_t i = 0; i < size; ++i) message.push_back(static_cast<char>(i * 7));
    std::string bytes;
    AppendChunked(message, bytes);
    AppendChunked("next", bytes);
    Dechunker dechunker;
    std::vector<std::string> messages;
    const size_t piece = size < 10 ? 1 : 4097;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      dechunker.input().append(bytes, at, piece);
      while (auto next = dechunker.Next()) messages.push_back(*next);
    }
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_TRUE(messages[0] == message);
    EXPECT_EQ(messages[1], "next");
    EXPECT_TRUE(dechunker.input().empty());
  }
}

TEST(FramingTest, CutsAMessageOfSeveralPartsAsIfItWereOne) {
  const std::string message(0xFFFF + 100, 'x');
  std::string whole;
  AppendChunked(message, whole);
  EXPECT_LE(whole.size(), ChunkedSize(message.size()));
  for (const size_t cut : {size_t{0}, size_t{1}, size_t{0xFFFE}, size_t{0xFFFF}, message.size()}) {
    const std::string_view text = message;
    std::string parts;
    AppendChunked({text.substr(0, cut), "", text.substr(cut)}, parts);
    EXPECT_TRUE(parts == whole) << cut;
  }
}

TEST(FramingTest, PassesOverSignsOfLifeBetweenMessages) {
  Dechunker dechunker;
  dechunker.input() = "\0\0\0\0\0\1a\0\0\0\0\0\1b\0\0\0\0"s;
  EXPECT_EQ(dechunker.Next(), "a");
  EXPECT_EQ(dechunker.Next(), "b");
  EXPECT_EQ(dechunker.Next(), std::nullopt);
  EXPECT_TRUE(dechunker.input().empty());
}

TEST(FramingTest, JoinsTheChunksOfOneMessage) {
  Dechunker dechunker;
  dechunker.input() = "\0\1a\0\2bc\0"s;
  EXPECT_EQ(dechunker.Next(), std::nullopt);
  dechunker.input().push_back('\0');
  EXPECT_EQ(dechunker.Next(), "abc");
}

TEST(FramingTest, StopsAtAMessageOverTheBound) {
  Dechunker dechunker;
  const std::string chunk = "\xFF\xFF"s + std::string(0xFFFF, 'x');
  for (size_t sent = 0; sent <= kIncomingMessageBytesMax; sent += 0xFFFF) {
    dechunker.input().append(chunk);
    EXPECT_EQ(dechunker.Next(), std::nullopt);
  }
  EXPECT_TRUE(dechunker.overflowed());
}

}  // namespace
}  // namespace apex::neo4j
