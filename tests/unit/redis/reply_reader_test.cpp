#include "stores/redis/reply_reader.h"

#include <gmock/gmock.h>

namespace apex::redis {
namespace {

using State = ReplyReader::State;
using Type = Reply::Type;

/// The reply in one line: (1), "text", nil, [a b], !words.
std::string Show(const Reply& reply) {
  switch (reply.type) {
    case Type::kNil: return "nil";
    case Type::kInteger: return "(" + std::to_string(reply.integer) + ")";
    case Type::kText: return "\"" + reply.text + "\"";
    case Type::kError: return "!" + reply.text;
    case Type::kArray: break;
  }
  std::string shown = "[";
  for (const Reply& element : reply.elements) {
    if (shown.size() > 1) shown += ' ';
    shown += Show(element);
  }
  return shown + "]";
}

/// Every reply in `bytes`, which come in pieces of `size`.
std::vector<std::string> ReadIn(std::string_view bytes, size_t size) {
  ReplyReader reader;
  std::vector<std::string> shown;
  for (size_t at = 0; at < bytes.size(); at += size) {
    reader.incoming().append(bytes.substr(at, size));
    Reply reply;
    State state{};
    while ((state = reader.Next(reply)) == State::kReply) shown.push_back(Show(reply));
    if (state == State::kBroken) {
      shown.emplace_back("broken");
      break;
    }
  }
  return shown;
}

std::vector<std::string> Read(std::string_view bytes) { return ReadIn(bytes, bytes.size()); }

TEST(ReplyReaderTest, ReadsEveryTypeOfRedis2) {
  EXPECT_THAT(
      Read("+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\rb\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n"),
      testing::ElementsAre("\"OK\"", "!ERR no", "(-7)", "\"a\rb\"", "\"\"", "nil", "nil", "[]"));
  EXPECT_THAT(Read("*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n+x\r\n:9\r\n"),
              testing::ElementsAre("[(1) [\"a\" []] \"x\"]", "(9)"));
}

TEST(ReplyReaderTest, ReadsEveryTypeOfRedis3) {
  if (!UnderstandsResp3()) GTEST_SKIP() << ReaderVersion() << " does not";
  EXPECT_THAT(Read("_\r\n#t\r\n#f\r\n,1.5\r\n(3492890328409238509324850943850943825024385\r\n"
                   "!5\r\nERR x\r\n=7\r\ntxt:abc\r\n~1\r\n:1\r\n%1\r\n+k\r\n*1\r\n:2\r\n"),
              testing::ElementsAre("nil", "(1)", "(0)", "\"1.5\"",
                                   "\"3492890328409238509324850943850943825024385\"", "!ERR x",
                                   "\"abc\"", "[(1)]", "[\"k\" [(2)]]"));
}

TEST(ReplyReaderTest, PassesOverWhatNobodyAskedFor) {
  if (!UnderstandsResp3()) GTEST_SKIP() << ReaderVersion() << " knows of no such messages";
  EXPECT_THAT(Read(">2\r\n+invalidate\r\n*1\r\n+k\r\n:1\r\n>0\r\n:2\r\n"),
              testing::ElementsAre("(1)", "(2)"));
}

TEST(ReplyReaderTest, TakesTheBytesInPiecesOfAnySize) {
  const std::string bytes =
      "*2\r\n*2\r\n$5\r\nhello\r\n$-1\r\n*2\r\n+a\r\n$4\r\nword\r\n$2\r\nok\r\n";
  for (size_t size = 1; size <= bytes.size(); ++size) {
    EXPECT_THAT(ReadIn(bytes, size),
                testing::ElementsAre("[[\"hello\" nil] [\"a\" \"word\"]]", "\"ok\""))
        << size;
  }
}

TEST(ReplyReaderTest, GivesUpOnWhatIsNoRedis) {
  for (const char* bytes :
       {"HTTP/1.1 400 Bad Request\r\n", ":x\r\n", "$-2\r\n", "*999999999999\r\n"}) {
    EXPECT_THAT(Read(bytes), testing::ElementsAre("broken")) << bytes;
  }
}

}  // namespace
}  // namespace apex::redis
