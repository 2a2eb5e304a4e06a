#include "saga/breaker.h"

#include <gtest/gtest.h>

namespace apex::saga {
namespace {

class BreakerTest : public testing::Test {
 protected:
  Breaker breaker_{Backoff{.initial_ms = 100, .max_ms = 1000}};
  std::mt19937_64 random_{1};
};

TEST_F(BreakerTest, AllowsEverythingWhileTheStoreAnswers) {
  breaker_.Sent();
  EXPECT_TRUE(breaker_.Allows(Time{0}));
  EXPECT_FALSE(breaker_.open());
  EXPECT_EQ(breaker_.retry_at(), std::nullopt);
}

TEST_F(BreakerTest, HoldsEverythingBackAfterAFailureUntilTheDelayIsOver) {
  breaker_.Failed(Time{5000}, std::nullopt, random_);
  const Time retry_at = breaker_.retry_at().value();
  EXPECT_GE(retry_at, Time{5050});
  EXPECT_LE(retry_at, Time{5100});
  EXPECT_FALSE(breaker_.Allows(retry_at - Time{1}));
  EXPECT_TRUE(breaker_.Allows(retry_at));
}

TEST_F(BreakerTest, LetsOneRequestOutAloneAndOpensTheWayWithItsAnswer) {
  breaker_.Failed(Time{0}, std::nullopt, random_);
  breaker_.Sent();
  EXPECT_FALSE(breaker_.Allows(Time{100000}));
  EXPECT_EQ(breaker_.retry_at(), std::nullopt) << "nothing to wait for but the answer";
  breaker_.Answered();
  EXPECT_TRUE(breaker_.Allows(Time{0}));
  EXPECT_EQ(breaker_.failing_since(), std::nullopt);
}

TEST_F(BreakerTest, WaitsLongerWithEachFailureAndRemembersTheFirst) {
  Time last_delay{0};
  Time now{7};
  for (int i = 0; i < 4; ++i) {
    breaker_.Failed(now, std::nullopt, random_);
    const Time delay = *breaker_.retry_at() - now;
    EXPECT_GE(delay, last_delay);
    last_delay = delay;
    now = *breaker_.retry_at();
    breaker_.Sent();
  }
  EXPECT_EQ(breaker_.failing_since(), Time{7});
}

TEST_F(BreakerTest, HonoursTheStoresOwnWish) {
  breaker_.Failed(Time{0}, Time{60000}, random_);
  EXPECT_EQ(breaker_.retry_at(), Time{60000});
}

}  // namespace
}  // namespace apex::saga
