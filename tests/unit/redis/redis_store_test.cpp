// What RedisStore does when there is no Redis to talk to, or none that answers.
#include "stores/redis/redis_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <regex>
#include <thread>

#include "fake_server.h"
#include "stores/redis/error.h"
#include "stores/redis/reply_reader.h"
#include "stores/redis/scripts.h"
#include "stores/redis/tags.h"

namespace apex::redis {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Greets, and answers the five scripts that every connection loads first.
void LoadScripts(int fd) {
  char buffer[16384];
  if (UnderstandsResp3() && recv(fd, buffer, sizeof buffer, 0) > 0)
    Answer(fd, "%1\r\n+proto\r\n:3\r\n");
  const std::string end = std::string(kInvalidateTagLua) + "\r\n";
  for (std::string got; !got.ends_with(end);) {
    const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size <= 0) return;
    got.append(buffer, static_cast<size_t>(size));
  }
  for (int i = 0; i < 5; ++i) Answer(fd, "$1\r\nx\r\n");
}

std::unique_ptr<RedisStore> StoreAt(const std::string& uri) {
  std::signal(SIGPIPE, SIG_IGN);
  auto created = RedisStore::Create({.uri = uri, .password = "", .key_prefix = "", .channel = "c"});
  EXPECT_TRUE(created.ok());
  return *std::move(created);
}

/// Its change lets a pass over all keys look for some.
RowWrite RowWithAPattern() {
  auto mapping = std::make_shared<TableMapping>();
  mapping->columns = {{.name = "id", .kind = ColumnKind::kInt}};
  mapping->cache.emplace();
  mapping->cache->invalidate = {"query:*{id}*"};
  auto change = std::make_shared<Change>();
  change->mapping = mapping;
  change->row = {.relation = 1, .key = "[1]"};
  change->after = R"({"id": 1})";
  return {.seq = 1, .newest = change, .changes = {change}};
}

TEST(RedisStoreTest, RefusesAUriItCannotServeWithoutRepeatingIt) {
  for (const char* uri : {"", "localhost", "http://h", "redis://:hunter2@", "redis://h:hunter2",
                          "redis://h/hunter2", "redis+sentinel://u:hunter2@h"}) {
    const auto created =
        RedisStore::Create({.uri = uri, .password = "", .key_prefix = "", .channel = "c"});
    ASSERT_FALSE(created.ok()) << uri;
    EXPECT_EQ(created.error().kind, ErrorKind::kPermanent);
    EXPECT_THAT(created.error().message, AllOf(HasSubstr("redis://"), Not(HasSubstr("hunter2"))));
  }
}

TEST(RedisStoreTest, WaitsForAServerThatIsNotThere) {
  std::string uri;
  {
    const FakeServer gone([](int) {});
    uri = gone.uri();
  }
  const Status pinged = StoreAt(uri)->Ping(Deadline::After(milliseconds(60000)));
  ASSERT_FALSE(pinged.ok());
  EXPECT_EQ(pinged.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(pinged.error().native_code, kUnreachable);
}

TEST(RedisStoreTest, ReturnsByItsDeadlineWhenTheServerSaysNothing) {
  const FakeServer silent(Drain);
  const auto store = StoreAt(silent.uri());
  const auto start = std::chrono::steady_clock::now();
  const Status pinged = store->Ping(Deadline::After(milliseconds(200)));
  ASSERT_FALSE(pinged.ok());
  EXPECT_EQ(pinged.error().native_code, kTimeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(150));
}

TEST(RedisStoreTest, ReturnsByItsDeadlineWhenTheServerTricklesItsAnswer) {
  const FakeServer trickling([](int fd) {
    std::thread reader([fd] { Drain(fd); });
    while (send(fd, "+", 1, MSG_NOSIGNAL) == 1) std::this_thread::sleep_for(milliseconds(20));
    reader.join();
  });
  const auto store = StoreAt(trickling.uri());
  EXPECT_FALSE(store->Ping(Deadline::After(milliseconds(200))).ok());
}

TEST(RedisStoreTest, DoesNotKnowTheOutcomeWhenTheConnectionIsLostAfterSending) {
  const FakeServer cutting([](int fd) {
    LoadScripts(fd);  // Then PING arrives and finds a closed door.
    char buffer[64];
    recv(fd, buffer, sizeof buffer, 0);
  });
  const Status pinged = StoreAt(cutting.uri())->Ping(Deadline::After(milliseconds(60000)));
  ASSERT_FALSE(pinged.ok());
  EXPECT_EQ(pinged.error().kind, ErrorKind::kUnknownOutcome);
  EXPECT_EQ(pinged.error().native_code, kConnectionLost);
}

TEST(RedisStoreTest, TakesARefusedHandshakeForTheServersCondition) {
  const FakeServer refusing([](int fd) {
    char buffer[8192];
    recv(fd, buffer, sizeof buffer, 0);
    for (int i = 0; i < 5; ++i) Answer(fd, "-ERR operation not permitted\r\n");
    Drain(fd);
  });
  const Status pinged = StoreAt(refusing.uri())->Ping(Deadline::After(milliseconds(60000)));
  ASSERT_FALSE(pinged.ok());
  EXPECT_EQ(pinged.error().kind, ErrorKind::kTransient);
  EXPECT_EQ(pinged.error().native_code, "ERR");
}

TEST(RedisStoreTest, GoesOnWithAScanPassThatItsDeadlineCutShort) {
  std::vector<std::string> scans;
  FakeServer slow([&scans](int fd) {
    LoadScripts(fd);
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      scans.emplace_back(buffer, static_cast<size_t>(got));
      if (scans.size() == 1) Answer(fd, "*2\r\n$2\r\n17\r\n*0\r\n");
      if (scans.size() >= 3) Answer(fd, "*2\r\n$1\r\n0\r\n*0\r\n");
    }
  });
  const RowWrite row = RowWithAPattern();
  auto store = StoreAt(slow.uri());
  // Long enough for the first page on a busy machine; the second never comes.
  const Status cut = store->Write({}, {&row, 1}, Deadline::After(milliseconds(2000)));
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().kind, ErrorKind::kUnknownOutcome);
  EXPECT_TRUE(store->Write({}, {&row, 1}, Deadline::After(milliseconds(60000))).ok());
  EXPECT_TRUE(store->Write({}, {&row, 1}, Deadline::After(milliseconds(60000))).ok());
  store.reset();
  ASSERT_EQ(scans.size(), 4U);
  EXPECT_THAT(scans[1], HasSubstr("\r\n17\r\n"));
  EXPECT_THAT(scans[2], HasSubstr("\r\n17\r\n")) << "the page without an answer is asked for again";
  EXPECT_THAT(scans[3], HasSubstr("\r\n0\r\n")) << "a pass that ended starts anew";
}

TEST(RedisStoreTest, GivesWayToEvictionsBetweenThePagesOfAPass) {
  int pages = 0;
  FakeServer server([&pages](int fd) {
    LoadScripts(fd);
    char buffer[4096];
    while (recv(fd, buffer, sizeof buffer, 0) > 0)
      Answer(fd, ++pages % 5 == 0 ? "*2\r\n$1\r\n0\r\n*0\r\n" : "*2\r\n$2\r\n17\r\n*0\r\n");
  });
  const RowWrite row = RowWithAPattern();
  auto store = StoreAt(server.uri());
  int gave_way = 0;
  store->GiveWayTo([&gave_way] { return ++gave_way, Status(); });
  EXPECT_TRUE(store->Write({}, {&row, 1}, Deadline::After(milliseconds(60000))).ok());
  EXPECT_EQ(gave_way, 5);
  const StoreError failed{Store::kRedis, "evict", ErrorKind::kTransient, "OOM", "full", {}};
  store->GiveWayTo([&] { return ++gave_way == 7 ? Status(failed) : Status(); });
  const Status cut = store->Write({}, {&row, 1}, Deadline::After(milliseconds(60000)));
  ASSERT_FALSE(cut.ok()) << "the server may be another one now";
  EXPECT_EQ(cut.error().native_code, "OOM");
}

TEST(RedisStoreTest, ANewConnectionEndsTheOneThatWasGivenUpBeforeAnythingElse) {
  std::vector<std::string> said;
  FakeServer server([&said](int fd) {
    LoadScripts(fd);
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      said.emplace_back(buffer, static_cast<size_t>(got));
      const std::string& last = said.back();
      if (last.find("SETNAME") != std::string::npos) {
        // As Redis would list the first connection: its own name, then with an id.
        std::smatch name;
        std::regex_search(said.front(), name, std::regex("apex:[^\r]*"));
        const std::string line = "id=7 addr=x name=" + name.str() + " age=1\n";
        Answer(fd, "+OK\r\n$" + std::to_string(line.size()) + "\r\n" + line + "\r\n");
      } else if (last.find("KILL") != std::string::npos) {
        Answer(fd, ":1\r\n");
      } else if (said.size() > 2) {
        Answer(fd, "+PONG\r\n:0\r\n");
      } else {
        return;  // Cuts the first connection with its command under way.
      }
    }
  });
  auto store = StoreAt(server.uri());
  const Fence fence{.pipeline = "default", .epoch = 4, .database = "d", .confirm = [](Deadline) {
                      return Status();
                    }};
  EXPECT_FALSE(store->Prepare(fence, {}, Deadline::After(milliseconds(60000))).ok());
  EXPECT_TRUE(store->Prepare(fence, {}, Deadline::After(milliseconds(60000))).ok());
  store.reset();
  ASSERT_EQ(said.size(), 5U);
  EXPECT_THAT(said[0], HasSubstr(":4:1\r\n"));
  EXPECT_THAT(said[1], HasSubstr("PING"));
  EXPECT_THAT(said[2], HasSubstr(":4:2\r\n"));
  EXPECT_THAT(said[3], AllOf(HasSubstr("KILL"), HasSubstr("\r\n7\r\n")));
  EXPECT_THAT(said[4], HasSubstr("PING"));
}

TEST(RedisStoreTest, PrepareSaysWhichTemplateIsAtFaultBeforeAnythingIsSent) {
  auto mapping = std::make_shared<TableMapping>();
  mapping->table = "public.documents";
  mapping->cache.emplace();
  mapping->cache->entry = "doc:{gone}";
  const MappingPtr mappings[] = {mapping};
  const Status prepared =
      StoreAt("redis://127.0.0.1:1")->Prepare({}, mappings, Deadline::After(milliseconds(1000)));
  ASSERT_FALSE(prepared.ok());
  EXPECT_EQ(prepared.error().kind, ErrorKind::kPermanent);
  EXPECT_THAT(prepared.error().message, HasSubstr("doc:{gone}"));
}

}  // namespace
}  // namespace apex::redis
