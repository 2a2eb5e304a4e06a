#include "coordinator/lease.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <vector>

namespace apex::coordinator {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kShort{40};
constexpr milliseconds kLong{60'000};

StoreError Error(ErrorKind kind) {
  return {Store::kPostgres, "heartbeat", kind, "test", "no answer", std::nullopt};
}

/// What the lease tells when it is lost.
struct Loss {
  std::promise<StoreError> promise;
  std::future<StoreError> future = promise.get_future();
  Lease::Lost callback() {
    return [this](const StoreError& error) { promise.set_value(error); };
  }
};

TEST(LeaseTest, IsValidForItsSpanFromTheMomentTheCallWasSent) {
  Loss loss;
  const Lease fresh(
      Deadline::Clock::now(), kLong, [](Deadline) { return Status(); }, loss.callback());
  EXPECT_TRUE(fresh.Valid());
  Loss other;
  const Lease late(
      Deadline::Clock::now() - kLong, kLong, [](Deadline) { return Status(); }, other.callback());
  EXPECT_FALSE(late.Valid()) << "the answer took as long as the lease";
}

TEST(LeaseTest, LastsItsSpanFromTheMomentTheLastConfirmedHeartbeatWasSent) {
  std::promise<void> second;
  std::vector<Deadline::Clock::time_point> ends;
  std::vector<Deadline::Clock::time_point> heard;
  Loss loss;
  const auto granted = Deadline::Clock::now();
  const Lease lease(
      granted, kShort,
      [&](Deadline until) {
        if (ends.size() == 2) return Status();
        ends.push_back(until.when());
        heard.push_back(Deadline::Clock::now());
        if (ends.size() == 2) second.set_value();
        return Status();
      },
      loss.callback());
  second.get_future().wait();
  EXPECT_EQ(ends[0], granted + kShort);
  EXPECT_GT(ends[1], ends[0]);
  EXPECT_LE(ends[1], heard[0] + kShort)
      << "counted from the answer, a slow one would lengthen the lease";
}

TEST(LeaseTest, EndsAtOnceWhenAnotherEpochLeads) {
  Loss loss;
  const Lease lease(
      Deadline::Clock::now(), milliseconds{400},
      [](Deadline) { return Status(Error(ErrorKind::kPermanent)); }, loss.callback());
  EXPECT_EQ(loss.future.get().message, "no answer");
  EXPECT_FALSE(lease.Valid());
}

TEST(LeaseTest, TriesAgainWhileItLastsAndIsLostAfterwards) {
  std::atomic<int> beats = 0;
  Loss loss;
  const auto granted = Deadline::Clock::now();
  const Lease lease(
      granted, kShort,
      [&](Deadline) {
        ++beats;
        return Status(Error(ErrorKind::kTransient));
      },
      loss.callback());
  loss.future.wait();
  EXPECT_GE(Deadline::Clock::now(), granted + kShort);
  EXPECT_FALSE(lease.Valid());
  EXPECT_GE(beats, 1);
}

TEST(LeaseTest, ConfirmsByAHeartbeatThatIsSentAfterTheQuestion) {
  std::atomic<int> beats = 0;
  std::promise<void> begun;
  std::promise<void> go_on;
  Loss loss;
  Lease lease(
      Deadline::Clock::now(), kLong,
      [&](Deadline) {
        if (++beats == 1) {
          begun.set_value();
          go_on.get_future().wait();
        }
        return Status();
      },
      loss.callback());
  auto first = std::async([&] { return lease.Confirm(Deadline::After(kLong)); });
  begun.get_future().wait();
  auto second = std::async([&] { return lease.Confirm(Deadline::After(kLong)); });
  // The one on its way may have been answered before the second question: it proves nothing to it.
  go_on.set_value();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_GE(beats, 1);
  EXPECT_TRUE(lease.Confirm(Deadline::After(kLong)).ok());
  EXPECT_GE(beats, 2);
}

TEST(LeaseTest, ConfirmsNothingOnceAnotherEpochLeads) {
  Loss loss;
  Lease lease(
      Deadline::Clock::now(), kLong, [](Deadline) { return Status(Error(ErrorKind::kPermanent)); },
      loss.callback());
  for (int i = 0; i < 2; ++i) {
    const Status confirmed = lease.Confirm(Deadline::After(kLong));
    ASSERT_FALSE(confirmed.ok());
    EXPECT_EQ(confirmed.error().native_code, kFenced);
  }
}

TEST(LeaseTest, WaitsForAConfirmationUntilTheDeadline) {
  Loss loss;
  Lease lease(
      Deadline::Clock::now(), kLong, [](Deadline) { return Status(Error(ErrorKind::kTransient)); },
      loss.callback());
  const Status confirmed = lease.Confirm(Deadline::After(kShort));
  ASSERT_FALSE(confirmed.ok());
  EXPECT_EQ(confirmed.error().kind, ErrorKind::kTransient);
}

}  // namespace
}  // namespace apex::coordinator
