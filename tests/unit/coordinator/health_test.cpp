#include "coordinator/health.h"

#include <gmock/gmock.h>

namespace apex::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HealthTest : public testing::Test {
 protected:
  Health health_{{Store::kPostgres, Store::kQdrant}};
};

TEST_F(HealthTest, IsNotReadyBeforeAnythingWasReached) {
  EXPECT_THAT(health_.NotReady(),
              ElementsAre("starting", "postgres: not reached yet", "qdrant: not reached yet"));
}

TEST_F(HealthTest, ALeaderNeedsEveryStore) {
  health_.SetRole(Role::kLeader, 7);
  health_.SetUp(Store::kPostgres);
  health_.SetDown(Store::kQdrant, "connection refused");
  EXPECT_THAT(health_.NotReady(), ElementsAre("qdrant: connection refused"));
  health_.SetUp(Store::kQdrant);
  EXPECT_THAT(health_.NotReady(), IsEmpty());
  EXPECT_EQ(health_.epoch(), 7);
}

TEST_F(HealthTest, AStandbyNeedsPostgresAlone) {
  health_.SetRole(Role::kStandby);
  health_.SetUp(Store::kPostgres);
  EXPECT_THAT(health_.NotReady(), IsEmpty());
}

TEST_F(HealthTest, SaysThatAStoreIsDownOnceUntilItIsUpAgain) {
  EXPECT_TRUE(health_.SetDown(Store::kQdrant, "connection refused")) << "also when it never was up";
  EXPECT_FALSE(health_.SetDown(Store::kQdrant, "still refused"));
  EXPECT_EQ(health_.stores().at(Store::kQdrant).last_error, "still refused");
  health_.SetUp(Store::kQdrant);
  EXPECT_TRUE(health_.SetDown(Store::kQdrant, "gone"));
}

TEST_F(HealthTest, IsNotReadyWhileStopping) {
  health_.SetUp(Store::kPostgres);
  health_.SetUp(Store::kQdrant);
  health_.SetRole(Role::kStopping);
  EXPECT_THAT(health_.NotReady(), ElementsAre("stopping"));
}

}  // namespace
}  // namespace apex::coordinator
