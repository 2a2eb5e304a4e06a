#include "coordinator/target_worker.h"

#include <gmock/gmock.h>

#include <limits>
#include <mutex>
#include <string>
#include <thread>

namespace apex::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

StoreError Error(ErrorKind kind, std::string message) {
  return {Store::kRedis, "test", kind, "TEST", std::move(message), std::nullopt};
}

/// Answers what it was last told to.
class FakeStore : public CacheStore {
 public:
  struct Answers {
    Status prepare{};
    Status rows{};
    Status ping{};
  };

  void AnswerWith(Answers answers) {
    const std::lock_guard lock(mutex_);
    answers_ = std::move(answers);
  }
  int looks() const {
    const std::lock_guard lock(mutex_);
    return looks_;
  }
  void WaitForAnEvictionInTheNextWrite() {
    const std::lock_guard lock(mutex_);
    waits_for_eviction_ = true;
  }
  bool writing() const {
    const std::lock_guard lock(mutex_);
    return writing_;
  }
  void TakeTableInParts(int parts) {
    const std::lock_guard lock(mutex_);
    parts_ = parts;
  }

  Store store() const override { return Store::kRedis; }
  Status Prepare(const Fence& /*fence*/, std::span<const MappingPtr> /*mappings*/,
                 Deadline /*deadline*/) override {
    const std::lock_guard lock(mutex_);
    // Otherwise the ping behind it counts.
    if (!answers_.prepare.ok()) ++looks_;
    return answers_.prepare;
  }
  Status Write(const Fence& /*fence*/, std::span<const RowWrite> /*rows*/,
               Deadline /*deadline*/) override {
    {
      const std::lock_guard lock(mutex_);
      if (!waits_for_eviction_) return answers_.rows;
      writing_ = true;
    }
    while (true) {
      if (Status given_way = GiveWay(); !given_way.ok()) return given_way;
      const std::lock_guard lock(mutex_);
      if (!waits_for_eviction_) return answers_.rows;
    }
  }
  Result<bool> Truncate(const Fence& /*fence*/, const Change& /*truncation*/,
                        Deadline /*deadline*/) override {
    if (Status status = Rows(); !status.ok()) return status.error();
    const std::lock_guard lock(mutex_);
    return --parts_ <= 0;
  }
  Status Undo(const Fence& /*fence*/, std::span<const RowUndo> /*rows*/,
              Deadline /*deadline*/) override {
    return Rows();
  }
  Status Evict(const Fence& /*fence*/, std::span<const RowWrite> /*rows*/,
               Deadline /*deadline*/) override {
    const std::lock_guard lock(mutex_);
    if (answers_.rows.ok()) waits_for_eviction_ = false;
    return answers_.rows;
  }
  std::chrono::microseconds FixedPart() const override { return std::chrono::hours(1); }
  Status Ping(Deadline /*deadline*/) override {
    const std::lock_guard lock(mutex_);
    ++looks_;
    return answers_.ping;
  }

 private:
  Status Rows() {
    const std::lock_guard lock(mutex_);
    return answers_.rows;
  }

  mutable std::mutex mutex_;
  Answers answers_;
  int looks_ = 0;
  int parts_ = 0;
  bool waits_for_eviction_ = false;
  bool writing_ = false;  ///< It waits.
};

class TargetWorkerTest : public testing::Test {
 protected:
  TargetWorkerTest() {
    health_.SetRole(Role::kLeader, 1);
    auto mapping = std::make_shared<TableMapping>();
    mapping->id = 1;
    mapping->active = true;
    worker_.Know(std::make_shared<const std::vector<MappingPtr>>(1, mapping));
    Look();
  }

  void Write() {
    worker_.Perform(saga::Write{1, Store::kRedis, std::make_shared<std::vector<RowWrite>>()});
    AwaitAnswerOf(1);
  }

  void AwaitAnswerOf(uint64_t batch) {
    std::deque<saga::Event> answered;
    while (answered.empty()) answered = mailbox_.Take(Deadline::After(std::chrono::seconds(10)));
    const auto* finished = std::get_if<saga::WriteFinished>(&answered.front());
    ASSERT_TRUE(finished);
    EXPECT_EQ(finished->batch, batch);
    took_ = finished->took;
  }

  void EvictInTheMiddleOfAWrite() {
    store_.WaitForAnEvictionInTheNextWrite();
    const auto rows = std::make_shared<std::vector<RowWrite>>();
    worker_.Perform(saga::Write{1, Store::kRedis, rows});
    while (!store_.writing()) std::this_thread::yield();
    worker_.Perform(saga::Evict{2, rows});
  }

  std::deque<saga::Event> TakeAnswers(size_t count) {
    std::deque<saga::Event> answered;
    while (answered.size() < count) {
      for (saga::Event& event : mailbox_.Take(Deadline::After(std::chrono::seconds(10))))
        answered.push_back(std::move(event));
    }
    return answered;
  }

  /// Looks at the idle store until one look is over: a second one has begun then.
  void Look() {
    const int before = store_.looks();
    while (store_.looks() < before + 2) {
      worker_.PingWhenIdle();
      std::this_thread::yield();
    }
  }

  FakeStore store_;
  std::chrono::microseconds took_{};  ///< As the last answer has it.
  Mailbox mailbox_;
  Metrics metrics_;
  Health health_{{Store::kRedis}};
  Lease lease_{Deadline::Clock::now(), std::chrono::minutes(1), [](Deadline) { return Status(); },
               [](const StoreError&) {}};
  TargetWorker worker_{
      store_, {mailbox_, metrics_, health_, lease_, Fence{"default", 1}, std::chrono::seconds(10)}};
};

TEST_F(TargetWorkerTest, WhatFewerRowsWouldHaveTakenAsWellIsNoReasonToSendFewer) {
  Write();
  EXPECT_LT(took_, std::chrono::microseconds(0)) << "an hour of it was the store's own";
}

TEST_F(TargetWorkerTest, AnIdleStoreIsUpOnceItIsPreparedAndAnswers) {
  EXPECT_THAT(health_.NotReady(), IsEmpty());
  store_.AnswerWith({.ping = Error(ErrorKind::kUnknownOutcome, "no answer")});
  Look();
  EXPECT_THAT(health_.NotReady(), ElementsAre(HasSubstr("no answer")));
  store_.AnswerWith({});
  Look();
  EXPECT_THAT(health_.NotReady(), IsEmpty());
}

TEST_F(TargetWorkerTest, AStoreThatAnswersButDoesNotFitStaysDownUntilItIsMended) {
  store_.AnswerWith({.rows = Error(ErrorKind::kTransient, "restarting")});
  Write();
  store_.AnswerWith({.prepare = Error(ErrorKind::kPermanent, "another dimension")});
  Look();
  EXPECT_THAT(health_.NotReady(), ElementsAre(HasSubstr("another dimension")));
  Look();
  EXPECT_THAT(health_.NotReady(), ElementsAre(HasSubstr("another dimension")));
  store_.AnswerWith({});
  Write();
  EXPECT_THAT(health_.NotReady(), IsEmpty());
}

TEST_F(TargetWorkerTest, AStoreThatAnswersButTakesNoRowsStaysDownUntilItTakesThem) {
  store_.AnswerWith({.rows = Error(ErrorKind::kTransient, "out of memory")});
  Write();
  Look();
  EXPECT_THAT(health_.NotReady(), ElementsAre(HasSubstr("out of memory")));
  store_.AnswerWith({});
  Write();
  EXPECT_THAT(health_.NotReady(), IsEmpty());
}

TEST_F(TargetWorkerTest, ARefusalOfRowsIsNotTheStoresAndOfAPingIs) {
  store_.AnswerWith({.rows = Error(ErrorKind::kPermanent, "wrong dimension")});
  Write();
  EXPECT_THAT(health_.NotReady(), IsEmpty());
  store_.AnswerWith({.ping = Error(ErrorKind::kPermanent, "not a Redis")});
  Look();
  EXPECT_THAT(health_.NotReady(), ElementsAre(HasSubstr("not a Redis")));
}

TEST_F(TargetWorkerTest, AnEvictionIsMadeInTheMiddleOfACallThatTakesLong) {
  EvictInTheMiddleOfAWrite();
  const std::deque<saga::Event> answered = TakeAnswers(2);
  EXPECT_TRUE(std::get<saga::EvictFinished>(answered[0]).status.ok());
  EXPECT_TRUE(std::get<saga::WriteFinished>(answered[1]).status.ok());
}

TEST_F(TargetWorkerTest, AnEvictionThatTheStoreCannotMakeEndsTheCallInWhoseMiddleItIs) {
  store_.AnswerWith({.rows = Error(ErrorKind::kTransient, "restarting")});
  EvictInTheMiddleOfAWrite();
  const std::deque<saga::Event> answered = TakeAnswers(2);
  EXPECT_FALSE(std::get<saga::EvictFinished>(answered[0]).status.ok());
  EXPECT_FALSE(std::get<saga::WriteFinished>(answered[1]).status.ok());
}

TEST_F(TargetWorkerTest, ATableIsTakenAwayInPartsBetweenWhichOtherJobsHaveTheirTurn) {
  store_.TakeTableInParts(std::numeric_limits<int>::max());
  auto truncation = std::make_shared<Change>();
  truncation->op = Operation::kTruncate;
  worker_.Perform(saga::Write{
      7, Store::kRedis, std::make_shared<std::vector<RowWrite>>(1, RowWrite{1, truncation, {}})});
  Write();
  store_.TakeTableInParts(2);
  AwaitAnswerOf(7);
  store_.AnswerWith({.rows = Error(ErrorKind::kTransient, "restarting")});
  worker_.Perform(saga::Write{
      8, Store::kRedis, std::make_shared<std::vector<RowWrite>>(1, RowWrite{1, truncation, {}})});
  AwaitAnswerOf(8);
  EXPECT_THAT(health_.NotReady(), ElementsAre(HasSubstr("restarting")));
}

}  // namespace
}  // namespace apex::coordinator
