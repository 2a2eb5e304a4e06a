// RedisStore against a real Redis: the server at APEX_REDIS_URI. Each test has a key prefix and a
// channel of its own and deletes what it made.
#include "stores/redis/redis_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hiredis.h>

#include <csignal>
#include <cstdlib>
#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>
#include <thread>

#include "stores/redis/glob.h"

namespace apex::redis {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::Gt;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Le;
using testing::Not;
using testing::UnorderedElementsAre;

constexpr int64_t kBeyondDouble = 9007199254740993;  // 2^53 + 1: no double holds it.
constexpr milliseconds kPatience{60000};

Deadline Soon() { return Deadline::After(kPatience); }

std::string Address() {
  const char* uri = std::getenv("APEX_REDIS_URI");
  return uri == nullptr ? "" : uri;
}

Target TheTarget() {
  return ParseTarget({.uri = Address(), .password = "", .key_prefix = ""}).value_or(Target());
}

/// What a subscriber of the channel hears.
class Subscriber {
 public:
  explicit Subscriber(const std::string& channel) {
    const Target target = TheTarget();
    const net::Address& server = target.addresses.front();
    context_.reset(
        redisConnectWithTimeout(server.host.c_str(), server.port, {.tv_sec = 10, .tv_usec = 0}));
    redisSetTimeout(context_.get(), {.tv_sec = 10, .tv_usec = 0});
    if (!target.password.empty())
      freeReplyObject(redisCommand(context_.get(), "AUTH %s", target.password.c_str()));
    freeReplyObject(redisCommand(context_.get(), "SUBSCRIBE %s", channel.c_str()));
  }

  json Next() {
    void* raw = nullptr;
    if (redisGetReply(context_.get(), &raw) != REDIS_OK)
      return json("nothing was published in time");
    auto* const reply = static_cast<redisReply*>(raw);
    json message = json::parse(std::string(reply->element[2]->str, reply->element[2]->len));
    freeReplyObject(reply);
    return message;
  }

 private:
  std::unique_ptr<redisContext, decltype(&redisFree)> context_{nullptr, &redisFree};
};

class RedisStoreTest : public testing::Test {
 protected:
  RedisStoreTest() : observer_(Client::Make(TheTarget(), {})) { std::signal(SIGPIPE, SIG_IGN); }

  void SetUp() override {
    ASSERT_FALSE(Address().empty()) << "APEX_REDIS_URI names a Redis for these tests";
    prefix_ = "apex_test_" + std::to_string(std::random_device{}()) + ":";
    store_ = NewStore(prefix_);
    const Status prepared = store_->Prepare(fence_, {}, Soon());
    ASSERT_TRUE(prepared.ok()) << Describe(prepared.error());
  }

  void TearDown() override {
    for (const std::string& key : Keys()) Do({"DEL", key}, 1);
  }

  std::unique_ptr<RedisStore> NewStore(const std::string& prefix) const {
    auto created = RedisStore::Create(
        {.uri = Address(), .password = "", .key_prefix = prefix, .channel = prefix + "events"});
    EXPECT_TRUE(created.ok());
    return *std::move(created);
  }

  Reply Do(std::initializer_list<std::string_view> command, size_t key_at = Commands::kNoKey) {
    Commands commands;
    commands.Add(command, key_at);
    auto replies = observer_->Run("observe", commands, Soon());
    EXPECT_TRUE(replies.ok()) << Describe(replies.error());
    return replies.ok() ? replies->front() : Reply();
  }
  /// Relative to the prefix, as every key in these tests.
  std::string Get(const std::string& key) { return Do({"GET", prefix_ + key}, 1).text; }
  void Set(const std::string& key, const std::string& value = "x") {
    Do({"SET", prefix_ + key, value}, 1);
  }
  int64_t Ttl(const std::string& key) { return Do({"TTL", prefix_ + key}, 1).integer; }
  bool Exists(const std::string& key) { return Do({"EXISTS", prefix_ + key}, 1).integer == 1; }

  std::vector<std::string> Keys(const std::string& pattern = "*") {
    std::set<std::string> keys;
    const PatternSet wanted({EscapeGlob(prefix_) + pattern});
    for (ScanPass pass; !pass.over;) {
      auto page = observer_->Scan("observe", wanted, pass, Soon());
      EXPECT_TRUE(page.ok()) << Describe(page.error());
      if (!page.ok()) break;
      keys.insert(page->begin(), page->end());
    }
    return {keys.begin(), keys.end()};
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const std::string& key : Keys()) names.push_back(key.substr(prefix_.size()));
    return names;
  }

  int64_t CallsOf(const std::string& command) {
    const std::string stats = Do({"INFO", "commandstats"}).text;
    std::smatch found;
    return std::regex_search(stats, found, std::regex("cmdstat_" + command + ":calls=(\\d+)"))
               ? std::stoll(found[1])
               : 0;
  }

  static std::shared_ptr<TableMapping> NewMapping(CacheMode mode) {
    auto mapping = std::make_shared<TableMapping>();
    mapping->id = 1;
    mapping->table = "public.documents";
    mapping->key = {{.name = "id", .kind = ColumnKind::kText}};
    mapping->columns = {{.name = "id", .kind = ColumnKind::kText},
                        {.name = "title", .kind = ColumnKind::kText},
                        {.name = "seen", .kind = ColumnKind::kTimestamptz}};
    mapping->cache = CacheMapping{.entity = "document",
                                  .mode = mode,
                                  .entry = "doc:{id}",
                                  .ttl_seconds = 3600,
                                  .columns = {"id", "title"},
                                  .invalidate = {},
                                  .events = {}};
    return mapping;
  }

  static ChangePtr NewChange(const MappingPtr& mapping, int64_t seq, Operation op,
                             const std::string& id, std::optional<json> before,
                             std::optional<json> after) {
    auto change = std::make_shared<Change>();
    change->seq = seq;
    change->op = op;
    change->mapping = mapping;
    change->row = {.relation = 1, .key = json::array({id}).dump()};
    if (before) change->before = before->dump();
    if (after) change->after = after->dump();
    return change;
  }
  static RowWrite Rows(std::vector<ChangePtr> changes) {
    const ChangePtr newest = changes.back();
    return {.seq = newest->seq, .newest = newest, .changes = std::move(changes)};
  }
  static json Image(const std::string& id, const std::string& title) {
    return {{"id", id}, {"title", title}};
  }
  static RowWrite Upsert(const MappingPtr& mapping, int64_t seq, const std::string& id,
                         const std::string& title) {
    return Rows(
        {NewChange(mapping, seq, Operation::kUpdate, id, Image(id, "before"), Image(id, title))});
  }
  static RowWrite Delete(const MappingPtr& mapping, int64_t seq, const std::string& id) {
    return Rows(
        {NewChange(mapping, seq, Operation::kDelete, id, Image(id, "before"), std::nullopt)});
  }

  void Write(const std::vector<RowWrite>& rows) {
    const Status written = store_->Write(fence_, rows, Soon());
    EXPECT_TRUE(written.ok()) << Describe(written.error());
  }
  static RowWrite Entry(const MappingPtr& mapping, int64_t seq, int id) {
    auto change = std::make_shared<Change>();
    change->seq = seq;
    change->mapping = mapping;
    change->row = {.relation = 1, .key = json::array({id}).dump()};
    change->after = json{{"id", id}, {"title", "t"}}.dump();
    return Rows({change});
  }
  static ChangePtr Truncation(const MappingPtr& mapping, int64_t seq) {
    auto change = std::make_shared<Change>();
    change->seq = seq;
    change->op = Operation::kTruncate;
    change->mapping = mapping;
    change->row = {.relation = 1, .key = "[]"};
    return change;
  }
  void Truncate(const MappingPtr& mapping, int64_t seq) {
    const ChangePtr truncation = Truncation(mapping, seq);
    Result<bool> done = false;
    while (done.ok() && !*done) done = store_->Truncate(fence_, *truncation, Soon());
    EXPECT_TRUE(done.ok()) << Describe(done.error());
  }
  void Undo(const std::vector<RowUndo>& rows) {
    const Status undone = store_->Undo(fence_, rows, Soon());
    EXPECT_TRUE(undone.ok()) << Describe(undone.error());
  }

  const Fence fence_{.pipeline = "default", .epoch = 1};
  std::string prefix_;
  std::unique_ptr<Client> observer_;
  std::unique_ptr<RedisStore> store_;
};

TEST_F(RedisStoreTest, WritesAnEntryWithTtl) {
  Write({Upsert(NewMapping(CacheMode::kWrite), 7, "a", "Caf\u00e9 \"x\"")});
  EXPECT_EQ(Get("doc:a"), "{\"_apex_seq\":7,\"id\":\"a\",\"title\":\"Caf\u00e9 \\\"x\\\"\"}");
  EXPECT_THAT(Ttl("doc:a"), AllOf(Gt(3500), Le(3600)));
}

TEST_F(RedisStoreTest, WritesAnEntryThatDoesNotExpireWhenThereIsNoTtl) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->ttl_seconds.reset();
  Write({Upsert(mapping, 7, "a", "A")});
  EXPECT_EQ(Ttl("doc:a"), -1);
}

TEST_F(RedisStoreTest, EntryIsGoneAfterItsExpiry) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->ttl_seconds = 1;
  Write({Upsert(mapping, 7, "a", "A")});
  const Deadline deadline = Soon();
  while (Exists("doc:a") && !deadline.expired()) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(Exists("doc:a"));
}

TEST_F(RedisStoreTest, InvalidationRemovesEntryAndKeysOfOldAndNewValues) {
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->cache->invalidate = {"doc:{id}:chunks", "by_title:{title}"};
  for (const char* key : {"doc:a", "doc:a:chunks", "by_title:one", "by_title:two", "by_title:three",
                          "by_title:four", "doc:b"})
    Set(key);
  Write({Rows(
      {NewChange(mapping, 1, Operation::kUpdate, "a", Image("a", "one"), Image("a", "two")),
       NewChange(mapping, 2, Operation::kUpdate, "a", Image("a", "two"), Image("a", "three"))})});
  EXPECT_THAT(Names(), UnorderedElementsAre("by_title:four", "doc:b"));
}

TEST_F(RedisStoreTest, QueryPatternRemovesMatchesAndNothingElse) {
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->cache->invalidate = {"query:*{id}*", "search:*{id}*"};
  for (const char* key : {"query:x:a1:y", "query:a1", "search:a1", "query:a2", "other:a1"})
    Set(key);
  Write({Upsert(mapping, 1, "a1", "A")});
  EXPECT_THAT(Names(), UnorderedElementsAre("query:a2", "other:a1"));
}

TEST_F(RedisStoreTest, PatternDeletionNeverUsesKeysAndScansOnceForAllPatterns) {
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->cache->invalidate = {"query:*{id}*", "search:*{id}*"};
  std::vector<RowWrite> rows;
  for (int i = 100; i < 200; ++i) {
    Set("query:" + std::to_string(i));
    Set("search:" + std::to_string(i));
    rows.push_back(Upsert(mapping, i, std::to_string(i), "A"));
  }
  const int64_t keys = CallsOf("keys");
  const int64_t scans = CallsOf("scan");
  const int64_t size = Do({"DBSIZE"}).integer;
  Write(rows);
  EXPECT_EQ(CallsOf("keys"), keys);
  // Each call looks at 200 keys; the table behind them may be up to twice as large.
  EXPECT_THAT(CallsOf("scan") - scans, AllOf(Gt(0), Le(2 + 2 * size / 200)));
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(RedisStoreTest, APassThatIsCutShortAgainAndAgainDeletesAllThatItFound) {
  if (observer_->has_slots()) GTEST_SKIP() << "one script makes keys of many slots";
  constexpr const char* kEach = R"(
    for i = 1, 50000 do redis.call(ARGV[2], ARGV[1] .. 'other:' .. i, i % 2 + 1) end
    return redis.call(ARGV[2], ARGV[1] .. 'other:1', 1))";
  Do({"EVAL", kEach, "0", prefix_, "SET"});
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->cache->invalidate = {"query:*{id}*", "search:*{id}*"};
  for (int i = 0; i < 50; ++i) Set("query:" + std::to_string(i) + ":a");
  const std::vector<RowWrite> rows{Upsert(mapping, 1, "a", "A")};
  const int64_t scans = CallsOf("scan");
  int64_t attempts = 1;
  while (attempts < 2000 && !store_->Write(fence_, rows, Deadline::After(milliseconds(5))).ok())
    ++attempts;
  EXPECT_GT(attempts, 1);
  EXPECT_THAT(CallsOf("scan") - scans - 2 * attempts, Le(2 + 2 * Do({"DBSIZE"}).integer / 200))
      << "more than one pass was made in " << attempts << " attempts";
  EXPECT_THAT(Keys("query:*"), IsEmpty());
  Do({"EVAL", kEach, "0", prefix_, "EXPIRE"});
  while (!Keys("other:*").empty()) std::this_thread::sleep_for(milliseconds(50));
}

TEST_F(RedisStoreTest, AnIdentifierThatIsAGlobDeletesNothingElse) {
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->cache->invalidate = {"query:*{id}*", "doc:{id}:chunks"};
  for (const char* key : {"query:1", "query:[2]", "query:x*y", "doc:1:chunks", "doc:*:chunks"})
    Set(key);
  Write({Upsert(mapping, 1, "*", "A")});
  EXPECT_THAT(Names(), UnorderedElementsAre("query:1", "query:[2]", "doc:1:chunks"));
  Write({Upsert(mapping, 2, "[12]", "A")});
  EXPECT_THAT(Names(), UnorderedElementsAre("query:1", "query:[2]", "doc:1:chunks"));
}

TEST_F(RedisStoreTest, ClientSideMatchingAgreesWithTheServer) {
  const uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  constexpr std::string_view kAlphabet = "ab1*?[]^-\\";
  const auto text = [&](size_t size_max) {
    std::string made;
    for (size_t size = 1 + random() % size_max; made.size() < size;)
      made += kAlphabet[random() % kAlphabet.size()];
    return made;
  };
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) {
    names.push_back(text(5));
    Set(names.back());
  }
  for (int i = 0; i < 500; ++i) {
    const std::string pattern = EscapeGlob(prefix_) + text(7);
    std::set<std::string> ours;
    for (const std::string& name : names) {
      if (GlobMatch(pattern, prefix_ + name)) ours.insert(prefix_ + name);
    }
    const std::vector<std::string> keys = Keys(pattern.substr(EscapeGlob(prefix_).size()));
    ASSERT_EQ(ours, std::set<std::string>(keys.begin(), keys.end()))
        << pattern << ", seed " << seed;
  }
}

TEST_F(RedisStoreTest, PublishesTheEventsOnTheChannel) {
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->cache->events = {"document", "user"};
  Subscriber subscriber(prefix_ + "events");
  Write({Upsert(mapping, 1, "a", "A"), Delete(mapping, 2, "b")});
  std::vector<std::string> heard;
  for (int i = 0; i < 4; ++i) {
    const json message = subscriber.Next();
    ASSERT_TRUE(message.is_object()) << message;
    heard.push_back(message["document_id"].get<std::string>() + " " +
                    message["event"].get<std::string>());
    EXPECT_EQ(message["source"], "cache_service");
    EXPECT_TRUE(std::regex_match(message["timestamp"].get<std::string>(),
                                 std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)")));
    EXPECT_EQ(message.size(), 4U);
  }
  EXPECT_THAT(heard, ElementsAre("a document_updated", "a user_updated", "b document_deleted",
                                 "b user_deleted"));
}

TEST_F(RedisStoreTest, ASubscriberThatReadsAtOnceFindsNothingStale) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->events = {"document"};
  mapping->cache->invalidate = {"query:*{id}*"};
  Set("query:a");
  Subscriber subscriber(prefix_ + "events");
  Write({Upsert(mapping, 5, "a", "new")});
  subscriber.Next();
  EXPECT_THAT(Get("doc:a"), HasSubstr("new"));
  EXPECT_FALSE(Exists("query:a"));
}

TEST_F(RedisStoreTest, OlderVersionNeverReplacesANewerOne) {
  const MappingPtr mapping = NewMapping(CacheMode::kWrite);
  Write({Upsert(mapping, 10, "a", "ten")});
  Write({Upsert(mapping, 9, "a", "nine")});
  EXPECT_THAT(Get("doc:a"), HasSubstr("ten")) << "fewer digits are an older version";
  Write({Upsert(mapping, kBeyondDouble, "a", "large")});
  Write({Upsert(mapping, kBeyondDouble - 1, "a", "one less")});
  EXPECT_THAT(Get("doc:a"), HasSubstr("large")) << "doubles would call the two equal";
  Write({Delete(mapping, kBeyondDouble - 1, "a")});
  EXPECT_TRUE(Exists("doc:a")) << "an older delete leaves a newer entry";
  Write({Delete(mapping, kBeyondDouble + 1, "a")});
  EXPECT_FALSE(Exists("doc:a"));
}

TEST_F(RedisStoreTest, AnEntryOfAnotherMakerCountsAsOlder) {
  Set("doc:a", R"({"title":"by hand"})");
  Write({Upsert(NewMapping(CacheMode::kWrite), 1, "a", "ours")});
  EXPECT_THAT(Get("doc:a"), HasSubstr("ours"));
}

TEST_F(RedisStoreTest, ARenamedEntryMovesAndSparesTheRowThatTookItsName) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->entry = "title:{title}";
  Write({Upsert(mapping, 1, "a", "x")});
  Write({Rows({NewChange(mapping, 2, Operation::kUpdate, "a", Image("a", "x"), Image("a", "y"))})});
  EXPECT_THAT(Names(), UnorderedElementsAre("title:y"));
  Write({Upsert(mapping, 4, "b", "y")});
  Write({Rows({NewChange(mapping, 3, Operation::kUpdate, "a", Image("a", "y"), Image("a", "z"))})});
  EXPECT_THAT(Names(), UnorderedElementsAre("title:y", "title:z"));
  EXPECT_EQ(json::parse(Get("title:y"))["id"], "b");
}

TEST_F(RedisStoreTest, EvictRemovesEntriesAndKeysAndLeavesWhatAPatternFinds) {
  for (const CacheMode mode : {CacheMode::kWrite, CacheMode::kInvalidate}) {
    auto mapping = NewMapping(mode);
    mapping->cache->entry = "title:{title}";
    mapping->cache->invalidate = {"query:*{id}*", "chunks:{id}"};
    for (const char* key :
         {"title:before", "title:after", "title:other", "query:a", "chunks:a", "chunks:b"})
      Set(key);
    const RowWrite row = Upsert(mapping, 1, "a", "after");
    const Status evicted = store_->Evict(fence_, {&row, 1}, Soon());
    EXPECT_TRUE(evicted.ok());
    EXPECT_THAT(Names(), UnorderedElementsAre("title:other", "query:a", "chunks:b"));
  }
}

TEST_F(RedisStoreTest, UndoRemovesTheFailedVersionAndWhatDependsOnIt) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->invalidate = {"query:*{title}*"};
  mapping->cache->events = {"document"};
  Write({Upsert(mapping, 5, "a", "failed"), Upsert(mapping, 6, "b", "failed")});
  Write({Upsert(mapping, 8, "b", "later")});
  for (const char* key : {"query:failed", "query:accepted", "query:other"}) Set(key);
  Subscriber subscriber(prefix_ + "events");
  const auto undo = [&](const std::string& id, int64_t failed) {
    return RowUndo{.mapping = mapping,
                   .row = {.relation = 1, .key = json::array({id}).dump()},
                   .failed_seq = failed,
                   .accepted_seq = failed - 1,
                   .accepted = Image(id, "accepted").dump(),
                   .accepted_embedding = {},
                   .images = {Image(id, "failed").dump()}};
  };
  Undo({undo("a", 5), undo("b", 6)});
  EXPECT_THAT(Names(), UnorderedElementsAre("doc:b", "query:other"));
  EXPECT_THAT(Get("doc:b"), HasSubstr("later"));
  EXPECT_EQ(subscriber.Next()["event"], "document_updated");
  Undo({undo("a", 5)});
}

TEST_F(RedisStoreTest, TruncateTakesOlderEntriesAndWhateverRowsOfTheTableName) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->key = {{.name = "id", .kind = ColumnKind::kInt}};
  mapping->columns[0] = {.name = "id", .kind = ColumnKind::kInt};
  mapping->cache->invalidate = {"doc:{id}:chunks", "query:*{id}*", "docs:all"};
  mapping->cache->events = {"document"};
  Write({Entry(mapping, 10, 1), Entry(mapping, 30, 2)});
  Set("doc:3", "filled by a service");
  Do({"SADD", prefix_ + "doc:4", "not an entry"}, 1);
  for (const char* key :
       {"doc:7:chunks", "query:about 7", "query:others", "docs:all", "doc:x", "user:1"})
    Set(key);
  Subscriber subscriber(prefix_ + "events");
  Truncate(mapping, 20);
  EXPECT_THAT(Names(), UnorderedElementsAre("doc:2", "doc:4", "query:others", "doc:x", "user:1"));
  const json event = subscriber.Next();
  EXPECT_EQ(event["event"], "document_truncated");
  EXPECT_TRUE(event["document_id"].is_null());
}

TEST_F(RedisStoreTest, TruncateTakesWhatIsRegisteredUnderTheTagsOfAnyRow) {
  if (observer_->has_slots()) GTEST_SKIP() << "the prefix of these tests has no hash tag";
  auto mapping = NewMapping(CacheMode::kInvalidate);
  mapping->columns[0] = {.name = "id", .kind = ColumnKind::kInt};
  mapping->cache->entry = "";
  mapping->cache->tags = {"doc:{id}", "docs"};
  const auto tagged = [&](const std::string& tag, int keys) {
    for (int i = 0; i < keys; ++i) {
      const std::string name = "query:" + tag + ":" + std::to_string(i);
      Set(name);
      Do({"ZADD", prefix_ + "_apex:tag:" + tag, "9e15", prefix_ + name}, 1);
    }
  };
  const auto fill = [&] {
    tagged("doc:1", 3);
    tagged("doc:22", 2500);
    tagged("docs", 2);
    tagged("user:1", 1);
    Do({"ZADD", prefix_ + "_apex:journal", "inf", "journal"}, 1);
  };
  fill();
  ASSERT_TRUE(store_->Evict(fence_, std::vector{Rows({Truncation(mapping, 20)})}, Soon()).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("query:user:1:0", "_apex:tag:user:1"));
  fill();
  Truncate(mapping, 20);
  EXPECT_THAT(Names(), UnorderedElementsAre("query:user:1:0", "_apex:tag:user:1"));
}

TEST_F(RedisStoreTest, TruncateOfEntriesThatServicesFillTakesThemAll) {
  const auto mapping = NewMapping(CacheMode::kInvalidate);
  Set("doc:a");
  Set("doc:b", R"({"_apex_seq":99})");
  Set("other");
  Truncate(mapping, 20);
  EXPECT_THAT(Names(), ElementsAre("other"));
}

TEST_F(RedisStoreTest, EvictingATableTakesItsEntriesAlone) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->invalidate = {"query:*{id}*"};
  Write({Upsert(mapping, 10, "a", "old"), Upsert(mapping, 30, "b", "new")});
  Set("query:a");
  ASSERT_TRUE(store_->Evict(fence_, std::vector{Rows({Truncation(mapping, 20)})}, Soon()).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("doc:b", "query:a"));
}

TEST_F(RedisStoreTest, SendsNothingWhenARowCannotBeEncoded) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache->columns.emplace_back("seen");
  json image = Image("b", "B");
  image["seen"] = "infinity";
  const std::vector<RowWrite> rows{
      Upsert(mapping, 1, "a", "A"),
      Rows({NewChange(mapping, 2, Operation::kInsert, "b", std::nullopt, image)})};
  const Status written = store_->Write(fence_, rows, Soon());
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().native_code, kUnencodable);
  EXPECT_THAT(written.error().message, AllOf(HasSubstr("column seen"), HasSubstr(R"(["b"])")));
  EXPECT_THAT(Names(), IsEmpty());

  mapping->cache->mode = CacheMode::kInvalidate;
  Write(rows);
}

TEST_F(RedisStoreTest, ReportsAKeyOfAnotherTypeInRedisWordsAndWritesTheOtherRows) {
  Do({"RPUSH", prefix_ + "doc:a", "x"}, 1);
  const MappingPtr mapping = NewMapping(CacheMode::kWrite);
  const std::vector<RowWrite> rows{Upsert(mapping, 1, "a", "A"), Upsert(mapping, 2, "b", "B")};
  const Status written = store_->Write(fence_, rows, Soon());
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().kind, ErrorKind::kPermanent);
  EXPECT_EQ(written.error().native_code, "WRONGTYPE");
  EXPECT_TRUE(Exists("doc:b"));
}

TEST_F(RedisStoreTest, GoesOnAfterTheServerForgetsTheScripts) {
  const MappingPtr mapping = NewMapping(CacheMode::kWrite);
  Write({Upsert(mapping, 1, "a", "A")});
  Do({"SCRIPT", "FLUSH"});
  Write({Upsert(mapping, 2, "a", "B")});
  EXPECT_THAT(Get("doc:a"), HasSubstr("\"B\""));
}

TEST_F(RedisStoreTest, ConnectsAgainAfterItsConnectionIsCut) {
  const MappingPtr mapping = NewMapping(CacheMode::kWrite);
  // The store's connection is the one whose last command was Prepare's; nobody else's may be cut.
  const std::string clients = Do({"CLIENT", "LIST"}).text;
  std::smatch client;
  ASSERT_TRUE(std::regex_search(clients, client, std::regex("id=(\\d+) [^\n]*cmd=unlink")));
  EXPECT_EQ(Do({"CLIENT", "KILL", "ID", client[1].str()}).integer, 1);
  const RowWrite row = Upsert(mapping, 1, "a", "A");
  const Status first = store_->Write(fence_, {&row, 1}, Soon());
  if (!first.ok()) {
    EXPECT_EQ(first.error().kind, ErrorKind::kUnknownOutcome);
  }
  Write({row});
  EXPECT_TRUE(Exists("doc:a"));
}

TEST_F(RedisStoreTest, WritesMoreRowsThanGoIntoOnePipeline) {
  const MappingPtr mapping = NewMapping(CacheMode::kWrite);
  std::vector<RowWrite> rows;
  rows.reserve(3000);
  for (int i = 0; i < 3000; ++i)
    rows.push_back(Upsert(mapping, i, std::to_string(i), std::string(2000, 'x')));
  Write(rows);
  EXPECT_EQ(Keys("doc:*").size(), 3000U);
}

TEST_F(RedisStoreTest, SkipsRowsWithoutACache) {
  auto mapping = NewMapping(CacheMode::kWrite);
  mapping->cache.reset();
  Write({Upsert(mapping, 1, "a", "A")});
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(RedisStoreTest, HoldsAWrongPasswordForTheServersConditionAndKeepsItSecret) {
  auto created = RedisStore::Create(
      {.uri = Address(), .password = "hunter2", .key_prefix = "", .channel = "c"});
  ASSERT_TRUE(created.ok());
  const Status pinged = (*created)->Ping(Soon());
  ASSERT_FALSE(pinged.ok());
  EXPECT_EQ(pinged.error().kind, ErrorKind::kTransient);
  EXPECT_THAT(Describe(pinged.error()), Not(HasSubstr("hunter2")));
}

class RedisFenceTest : public RedisStoreTest {
 protected:
  /// Leads until it is told otherwise.
  struct Leader {
    std::unique_ptr<RedisStore> store;
    bool leads = true;
    int confirmed = 0;
    Fence fence{};
  };

  std::unique_ptr<Leader> NewLeader(int64_t epoch, const std::string& database = "1/app") const {
    auto leader = std::make_unique<Leader>();
    leader->store = NewStore(prefix_);
    std::string pipeline = prefix_;
    std::ranges::replace(pipeline, ':', '-');
    leader->fence = {.pipeline = pipeline,
                     .epoch = epoch,
                     .database = database,
                     .confirm = [it = leader.get()](Deadline) -> Status {
                       ++it->confirmed;
                       if (it->leads) return {};
                       return StoreError{Store::kPostgres,     "confirm", ErrorKind::kPermanent,
                                         std::string(kFenced), "gone",    std::nullopt};
                     }};
    return leader;
  }
  static Status Write(Leader& leader, const RowWrite& row) {
    return leader.store->Write(leader.fence, {&row, 1}, Soon());
  }

  const MappingPtr mapping_ = NewMapping(CacheMode::kWrite);
};

TEST_F(RedisFenceTest, ASuccessorEndsTheOldLeadersConnectionBeforeItWrites) {
  const auto old = NewLeader(1);
  EXPECT_TRUE(Write(*old, Upsert(mapping_, 1, "a", "old")).ok());
  old->leads = false;
  const auto successor = NewLeader(2);
  EXPECT_TRUE(Write(*successor, Delete(mapping_, 2, "a")).ok());
  const int connections = successor->confirmed;

  const Status late = Write(*old, Upsert(mapping_, 1, "a", "late"));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().kind, ErrorKind::kUnknownOutcome) << Describe(late.error());
  EXPECT_THAT(Names(), IsEmpty());
  const Status again = Write(*old, Upsert(mapping_, 1, "a", "late"));
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().native_code, kFenced) << "a new connection asks whether it still leads";
  EXPECT_EQ(again.error().kind, ErrorKind::kPermanent);
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_TRUE(Write(*successor, Upsert(mapping_, 3, "a", "new")).ok())
      << "the old leader's last attempt ended its successor's connection";
  EXPECT_EQ(successor->confirmed, connections);
}

TEST_F(RedisFenceTest, WhatTheServerHasReceivedAndNotCarriedOutIsEndedToo) {
  const auto old = NewLeader(1);
  EXPECT_TRUE(Write(*old, Upsert(mapping_, 1, "a", "old")).ok());
  Do({"CLIENT", "PAUSE", "60000", "WRITE"});
  auto late = std::async([&] { return Write(*old, Upsert(mapping_, 2, "a", "late")); });
  const auto postponed = [this] {
    return Do({"INFO", "clients"}).text.find("blocked_clients:0") == std::string::npos;
  };
  const Deadline deadline = Soon();
  while (!postponed() && !deadline.expired()) std::this_thread::yield();

  const auto successor = NewLeader(2);
  auto claimed =
      std::async([&] { return successor->store->Prepare(successor->fence, {}, Soon()); });
  const Status ended = late.get();
  EXPECT_FALSE(ended.ok());
  Do({"CLIENT", "UNPAUSE"});
  EXPECT_TRUE(claimed.get().ok());
  EXPECT_THAT(Get("doc:a"), HasSubstr("old"));
}

TEST_F(RedisFenceTest, ConnectionsOfOtherDatabasesStay) {
  const auto one = NewLeader(1, "1/one");
  const auto other = NewLeader(2, "1/other");
  EXPECT_TRUE(Write(*one, Upsert(mapping_, 1, "a", "A")).ok());
  EXPECT_TRUE(Write(*other, Upsert(mapping_, 2, "b", "B")).ok());
  EXPECT_TRUE(Write(*one, Upsert(mapping_, 3, "a", "A")).ok());
}

TEST_F(RedisFenceTest, AnotherEpochOfTheSameProcessClaimsAnew) {
  const auto leader = NewLeader(1);
  EXPECT_TRUE(Write(*leader, Upsert(mapping_, 1, "a", "A")).ok());
  const int connections = leader->confirmed;
  EXPECT_GE(connections, 1);
  EXPECT_TRUE(Write(*leader, Upsert(mapping_, 2, "a", "A")).ok());
  EXPECT_EQ(leader->confirmed, connections);
  leader->fence.epoch = 3;
  EXPECT_TRUE(Write(*leader, Upsert(mapping_, 3, "a", "A")).ok());
  EXPECT_EQ(leader->confirmed, 2 * connections);
}

TEST_F(RedisFenceTest, WithoutTheRightToEndConnectionsNothingIsWritten) {
  const auto old = NewLeader(1);
  EXPECT_TRUE(Write(*old, Upsert(mapping_, 1, "a", "old")).ok());
  const std::string user = "apex-test-" + std::to_string(std::random_device{}());
  Do({"ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all", "-client|kill"});
  const net::Address server = TheTarget().addresses.front();
  auto created = RedisStore::Create({.uri = "redis://" + user + ":secret@" + net::ToString(server),
                                     .password = "",
                                     .key_prefix = prefix_,
                                     .channel = "c"});
  ASSERT_TRUE(created.ok());
  const Status examined = (*created)->Examine({}, Soon());
  const auto successor = NewLeader(2);
  successor->store = *std::move(created);
  const Status written = Write(*successor, Upsert(mapping_, 2, "a", "new"));
  for (const Status& status : {examined, written}) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().native_code, "NOPERM");
    EXPECT_EQ(status.error().kind, ErrorKind::kTransient);
    EXPECT_THAT(status.error().message, HasSubstr("client|kill"));
  }
  EXPECT_THAT(Get("doc:a"), HasSubstr("old"));
  Do({"ACL", "DELUSER", user});
}

}  // namespace
}  // namespace apex::redis
