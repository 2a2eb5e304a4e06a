// The cache's entries against a real Redis, the server at APEX_REDIS_URI: leases, fills, and
// readers and invalidations in every order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "stores/redis/cache_entries.h"
#include "stores/redis/lease.h"
#include "stores/redis/redis_store.h"

namespace apex::redis {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{60000};

Deadline Soon() { return Deadline::After(kPatience); }

std::string Address() {
  const char* uri = std::getenv("APEX_REDIS_URI");
  return uri == nullptr ? "" : uri;
}

std::string ValueOf(int64_t version) {
  return "{\"_apex_seq\":" + std::to_string(version) + ",\"id\":\"a\"}";
}

class CacheEntriesTest : public testing::Test {
 protected:
  CacheEntriesTest() { std::signal(SIGPIPE, SIG_IGN); }

  void SetUp() override {
    ASSERT_FALSE(Address().empty()) << "APEX_REDIS_URI names a Redis for these tests";
    const std::string prefix = "apex_test_" + std::to_string(std::random_device{}()) + ":";
    const RedisOptions options{
        .uri = Address(), .password = "", .key_prefix = prefix, .channel = prefix + "events"};
    entries_ = std::move(*CacheEntries::Create(options));
    store_ = std::move(*RedisStore::Create(options));
    observer_ = Client::Make(*ParseTarget(options), {});
    key_ = prefix + "doc:a";
  }
  void TearDown() override { Do({"DEL", key_, LeaseKey(key_)}); }

  Reply Do(std::initializer_list<std::string_view> command) {
    auto replies = observer_->Run("observe", {command}, Soon());
    EXPECT_TRUE(replies.ok()) << Describe(replies.error());
    return replies.ok() ? replies->front() : Reply();
  }
  std::string Get() { return Do({"GET", key_}).text; }
  Looked Look() { return *entries_->GetOrLease(key_, Soon()); }
  std::string Lease() {
    const Looked looked = Look();
    EXPECT_EQ(looked.kind, Looked::Kind::kLease);
    return looked.text;
  }
  bool Fill(const std::string& lease, const std::string& value) {
    return *entries_->Fill(key_, lease, value, std::nullopt, Soon());
  }

  /// What the sidecar does as soon as it has read a change.
  void Invalidate() {
    const RowWrite row = ChangeOf(1, CacheMode::kInvalidate);
    const Status evicted = store_->Evict({}, {&row, 1}, Soon());
    ASSERT_TRUE(evicted.ok()) << Describe(evicted.error());
  }
  /// What it does when the other stores have the change.
  void Write(int64_t seq) {
    const RowWrite row = ChangeOf(seq, CacheMode::kWrite);
    const Status written = store_->Write({}, {&row, 1}, Soon());
    ASSERT_TRUE(written.ok()) << Describe(written.error());
  }

  std::unique_ptr<CacheEntries> entries_;
  std::unique_ptr<RedisStore> store_;
  std::string key_;

 private:
  static RowWrite ChangeOf(int64_t seq, CacheMode mode) {
    static const auto mapping_of = [](CacheMode wanted) {
      auto mapping = std::make_shared<TableMapping>();
      mapping->table = "public.documents";
      mapping->key = mapping->columns = {{.name = "id", .kind = ColumnKind::kText}};
      mapping->cache = CacheMapping{.entity = "document",
                                    .mode = wanted,
                                    .entry = "doc:{id}",
                                    .ttl_seconds = std::nullopt,
                                    .columns = {"id"},
                                    .invalidate = {},
                                    .events = {}};
      return mapping;
    };
    static const std::array<MappingPtr, 2> mappings{mapping_of(CacheMode::kInvalidate),
                                                    mapping_of(CacheMode::kWrite)};
    auto change = std::make_shared<Change>();
    change->seq = seq;
    change->op = Operation::kUpdate;
    change->mapping = mappings[mode == CacheMode::kWrite ? 1 : 0];
    change->row = {1, R"(["a"])"};
    change->after = R"({"id":"a"})";
    return {.seq = seq, .newest = change, .changes = {change}};
  }

  std::unique_ptr<Client> observer_;
};

TEST_F(CacheEntriesTest, AMissGivesALeaseThatFillsOnce) {
  EXPECT_EQ(*entries_->Get(key_, Soon()), std::nullopt);
  const std::string lease = Lease();
  EXPECT_EQ(Lease(), lease) << "readers of one miss share its lease";
  EXPECT_TRUE(Fill(lease, ValueOf(3)));
  EXPECT_EQ(Get(), ValueOf(3));
  EXPECT_EQ(Do({"TTL", key_}).integer, -1);
  EXPECT_FALSE(Fill(lease, ValueOf(4))) << "it was given back";
  const Looked looked = Look();
  EXPECT_EQ(looked.kind, Looked::Kind::kValue);
  EXPECT_EQ(looked.text, ValueOf(3));
}

TEST_F(CacheEntriesTest, AFilledEntryExpires) {
  ASSERT_TRUE(*entries_->Fill(key_, Lease(), ValueOf(3), milliseconds(40000), Soon()));
  EXPECT_THAT(Do({"PTTL", key_}).integer, testing::AllOf(testing::Gt(30000), testing::Le(40000)));
}

TEST_F(CacheEntriesTest, WithoutALeaseNothingIsFilled) {
  EXPECT_FALSE(Fill("", ValueOf(1)));
  EXPECT_FALSE(Fill("none", ValueOf(1)));
  const std::string lease = Lease();
  Invalidate();
  EXPECT_FALSE(Fill(lease, ValueOf(1)));
  EXPECT_NE(Lease(), lease);
  EXPECT_FALSE(Fill(lease, ValueOf(1))) << "the next reader's lease is not this one's";
}

TEST_F(CacheEntriesTest, AnEvictedLeaseFillsNothing) {
  const std::string lease = Lease();
  Do({"DEL", LeaseKey(key_)});
  EXPECT_FALSE(Fill(lease, ValueOf(1)));
}

TEST_F(CacheEntriesTest, ANewerEntryIsKept) {
  const std::string lease = Lease();
  Write(9);
  EXPECT_FALSE(Fill(lease, ValueOf(8)));
  EXPECT_EQ(Get(), ValueOf(9));
}

TEST_F(CacheEntriesTest, AnOlderWriteComesTooLateForAFilledEntry) {
  ASSERT_TRUE(Fill(Lease(), ValueOf(10)));
  Write(9);
  EXPECT_EQ(Get(), ValueOf(10));
  Write(11);
  EXPECT_EQ(Get(), ValueOf(11));
}

TEST_F(CacheEntriesTest, AMissingRowIsRememberedUntilItIsInvalidated) {
  ASSERT_TRUE(*entries_->FillNone(key_, Lease(), milliseconds(60000), Soon()));
  EXPECT_EQ(Look().kind, Looked::Kind::kNone);
  EXPECT_EQ(Do({"EXISTS", key_}).integer, 0) << "who reads the entry alone finds nothing";
  Invalidate();
  EXPECT_EQ(Look().kind, Looked::Kind::kLease);
}

TEST_F(CacheEntriesTest, StatisticsCountWhatIsRead) {
  const auto before = entries_->Statistics(Soon());
  ASSERT_TRUE(Fill(Lease(), ValueOf(1)));
  ASSERT_TRUE(entries_->Get(key_, Soon()).ok());
  const auto after = entries_->Statistics(Soon());
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_GT(after->keyspace_hits, before->keyspace_hits);
  EXPECT_GT(after->keyspace_misses, before->keyspace_misses);
  EXPECT_GE(after->total_keys, 1);
  EXPECT_GT(after->memory_usage_bytes, 0);
}

/// A row that is changed and a few readers that fill the cache with what they have read, one step
/// at a time in an order drawn from a seed. Without leases a reader sets what it has read.
class Interleaving {
 public:
  Interleaving(uint32_t seed, bool leases, CacheEntries& entries, std::string key,
               std::function<void()> invalidate, std::function<void(const std::string&)> set,
               std::function<void()> evict)
      : random_(seed),
        leases_(leases),
        entries_(entries),
        key_(std::move(key)),
        invalidate_(std::move(invalidate)),
        set_(std::move(set)),
        evict_(std::move(evict)) {}

  /// The row's last value.
  std::string Run() {
    constexpr int kReaders = 3;
    constexpr int kChanges = 3;
    std::array<Reader, kReaders> readers;
    int changes = kChanges;
    int invalidations = 0;
    int lookups = 12;
    while (changes > 0 || invalidations > 0 || lookups > 0 ||
           std::ranges::any_of(readers, IsUnderWay)) {
      const uint32_t choice = random_() % 8;
      if (choice < 4) {
        Reader& reader = readers[random_() % kReaders];
        if (IsUnderWay(reader) || lookups-- > 0) StepOf(reader);
      } else if (choice == 4 && changes > 0) {
        --changes;
        ++row_;
        ++invalidations;
      } else if (choice < 7 && invalidations > 0) {
        // One invalidation after the last of several changes may stand for all of them.
        invalidate_();
        invalidations = random_() % 2 == 0 ? 0 : invalidations - 1;
      } else if (choice == 7 && random_() % 4 == 0) {
        evict_();
      }
    }
    return std::to_string(row_);
  }

 private:
  struct Reader {
    enum class Step { kLook, kRead, kFill } next = Step::kLook;
    std::string lease;
    std::string value;
  };
  static bool IsUnderWay(const Reader& reader) { return reader.next != Reader::Step::kLook; }

  void StepOf(Reader& reader) {
    switch (reader.next) {
      case Reader::Step::kLook: {
        const Looked looked = *entries_.GetOrLease(key_, Soon());
        if (looked.kind != Looked::Kind::kLease) return;
        reader = {Reader::Step::kRead, looked.text, ""};
        break;
      }
      case Reader::Step::kRead:
        reader.value = std::to_string(row_);
        reader.next = Reader::Step::kFill;
        break;
      case Reader::Step::kFill:
        if (leases_) {
          (void)entries_.Fill(key_, reader.lease, reader.value, std::nullopt, Soon()).ok();
        } else {
          set_(reader.value);
        }
        reader.next = Reader::Step::kLook;
        break;
    }
  }

  std::minstd_rand random_;
  const bool leases_;
  CacheEntries& entries_;
  const std::string key_;
  const std::function<void()> invalidate_;
  const std::function<void(const std::string&)> set_;
  const std::function<void()> evict_;
  int row_ = 0;
};

TEST_F(CacheEntriesTest, NoInterleavingLeavesAStaleEntryAndWithoutLeasesMany) {
  constexpr uint32_t kInterleavings = 2000;
  std::array<int, 2> stale{};
  int filled = 0;
  for (const bool leases : {true, false}) {
    for (uint32_t seed = 1; seed <= kInterleavings; ++seed) {
      Interleaving run(
          seed, leases, *entries_, key_, [this] { Invalidate(); },
          [this](const std::string& value) {
            Do({"SET", key_, value});
          },
          [this, seed] {
            Do({"DEL", seed % 2 == 0 ? key_ : LeaseKey(key_)});
          });
      const std::string row = run.Run();
      const std::string held = Get();
      if (leases && !held.empty()) ++filled;
      if (!held.empty() && held != row) {
        ++stale[leases ? 1 : 0];
        if (leases)
          ADD_FAILURE() << "seed " << seed << ": holds " << held << ", the row is " << row;
      }
      Do({"DEL", key_, LeaseKey(key_)});
    }
  }
  EXPECT_EQ(stale[1], 0);
  EXPECT_GT(stale[0], 100) << "the test would not notice a stale entry";
  EXPECT_GT(filled, 100) << "nothing was filled that could have been stale";
}

}  // namespace
}  // namespace apex::redis
