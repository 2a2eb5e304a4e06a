#include "saga/saga_id.h"

#include <regex>
#include <set>

#include "fixtures.h"

namespace apex::saga {
namespace {

SagaPtr SagaAt(int64_t captured_at_us, uint64_t xid, const std::string& key) {
  auto change = std::make_shared<Change>(*Make(ChangeSpec{1, xid, key}));
  change->captured_at_us = captured_at_us;
  return std::make_shared<Saga>(std::move(change));
}

TEST(SagaIdTest, IsAUuidOfVersion7AndTheRfcVariant) {
  const std::regex shape("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  for (uint64_t xid = 0; xid < 1000; ++xid) {
    EXPECT_TRUE(
        std::regex_match(SagaId("7001", *SagaAt(1'645'557'742'000'000, xid, R"(["a"])")), shape));
  }
}

TEST(SagaIdTest, CarriesTheTimeOfTheFirstChange) {
  // RFC 9562's example: 2022-02-22 19:22:22 UTC is 017F22E2-79B0.
  EXPECT_EQ(SagaId("7001", *SagaAt(1'645'557'742'000'999, 1, "[1]")).substr(0, 13),
            "017f22e2-79b0");
  auto saga = std::make_shared<Saga>(*SagaAt(1'645'557'742'500'000, 1, "[1]"));
  saga->changes.push_back(SagaAt(1'645'557'742'000'000, 1, "[1]")->changes[0]);
  EXPECT_EQ(SagaId("7001", *saga).substr(0, 13), "017f22e2-79b0");
}

TEST(SagaIdTest, StaysTheSameForEver) {
  EXPECT_EQ(SagaId("7001", *SagaAt(1'645'557'742'000'000, 4711, R"(["0190"])")),
            "017f22e2-79b0-7c23-bcd5-185a6dcf0272");
}

TEST(SagaIdTest, DiffersBySystemTransactionAndAggregate) {
  std::set<std::string> ids;
  for (const char* system : {"7001", "7002"}) {
    for (uint64_t xid = 0; xid < 100; ++xid) {
      for (int key = 0; key < 100; ++key) {
        ids.insert(
            SagaId(system, *SagaAt(1'645'557'742'000'000, xid, "[" + std::to_string(key) + "]")));
      }
    }
  }
  EXPECT_EQ(ids.size(), 20000u);
}

}  // namespace
}  // namespace apex::saga
