#include "verify/verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "fakes.h"

namespace apex::verify {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class VerifierTest : public testing::Test {
 protected:
  VerifierTest() {
    for (int id = 1; id <= 50; ++id) {
      table_.Set(id, "v");
      store_.Put(id, "v");
    }
  }

  TableReport Verify() {
    Result<TableReport> report = Verifier(table_, {&store_}).Verify(MakeMapping());
    EXPECT_TRUE(report.ok());
    return *std::move(report);
  }

  FakeTable table_;
  FakeStore store_;
};

TEST_F(VerifierTest, ReadsEachSideOnceWhereAllIsEqual) {
  const TableReport report = Verify();
  EXPECT_TRUE(report.equal());
  EXPECT_EQ(report.rows, 50);
  EXPECT_EQ(report.stores[0].rows_held, 50);
  EXPECT_EQ(table_.passes, 1);
  EXPECT_EQ(store_.passes, 1);
}

TEST_F(VerifierTest, EndsWithAnErrorWhenItIsToStopBetweenTwoLooks) {
  std::atomic<bool> stop = false;
  store_.Put(4, "old");
  table_.Set(5, "new");
  table_.on_wait = [&] {
    stop = true;
    table_.Set(4, "written meanwhile");
    table_.Set(5, "written meanwhile");
  };
  const Result<TableReport> report = Verifier(table_, {&store_}, &stop).Verify(MakeMapping());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().native_code, "apex.stopped");
  EXPECT_FALSE(Verifier(table_, {&store_}, &stop).Verify(MakeMapping()).ok());
}

TEST_F(VerifierTest, NamesWhatIsMissingStaleAndExtra) {
  store_.Remove(3);
  store_.Put(4, "old");
  store_.Put(99, "ghost");
  const TableReport report = Verify();
  EXPECT_FALSE(report.equal());
  std::map<std::string, Kind> found;
  for (const Difference& difference : report.stores[0].differences)
    found[*difference.held.key] = difference.kind;
  EXPECT_EQ(found, (std::map<std::string, Kind>{
                       {"[3]", Kind::kMissing}, {"[4]", Kind::kStale}, {"[99]", Kind::kExtra}}));
}

TEST_F(VerifierTest, ReportsNothingThatHasArrivedByTheSecondLook) {
  store_.Put(4, "old");
  store_.Remove(5);
  store_.Put(99, "deleted meanwhile");
  table_.on_wait = [this] {
    store_.Put(4, "v");
    store_.Put(5, "v");
    store_.Remove(99);
  };
  EXPECT_TRUE(Verify().equal());
}

TEST_F(VerifierTest, LeavesARowAloneThatIsWrittenAtEveryLook) {
  store_.Put(4, "old");
  int writes = 0;
  table_.on_wait = [&] { table_.Set(4, "v" + std::to_string(++writes)); };
  const TableReport report = Verify();
  EXPECT_TRUE(report.equal());
  EXPECT_EQ(report.stores[0].busy, 1);
}

TEST_F(VerifierTest, DecidesOnARowOnceItIsQuiet) {
  store_.Put(4, "old");
  int writes = 0;
  table_.on_wait = [&] {
    if (++writes < 3) table_.Set(4, "v" + std::to_string(writes));
  };
  EXPECT_THAT(Verify().stores[0].differences, SizeIs(1));
}

TEST_F(VerifierTest, ListsParkedRowsApart) {
  store_.Put(4, "as before");
  table_.parked = {"[4]"};
  const TableReport report = Verify();
  EXPECT_TRUE(report.equal());
  EXPECT_THAT(report.parked, ElementsAre("[4]"));
}

TEST_F(VerifierTest, ListsRowsThatNoEventCanHoldApart) {
  table_.Set(60, "unspeakable");
  table_.Set(61, "unencodable");
  const TableReport report = Verify();
  EXPECT_TRUE(report.equal());
  EXPECT_THAT(report.unencodable, ElementsAre("[60]: column value: unspeakable", "[61]: no way"));
}

TEST_F(VerifierTest, TakesAnAbsentRowForForgottenWhereTheStoreMayForget) {
  store_.may_forget = true;
  store_.held.clear();
  store_.Put(4, "v");
  store_.Put(5, "old");
  const TableReport report = Verify();
  ASSERT_THAT(report.stores[0].differences, SizeIs(1));
  EXPECT_EQ(report.stores[0].differences[0].kind, Kind::kStale);
}

TEST_F(VerifierTest, LooksAtSoManyDifferencesAndCountsTheRest) {
  const int rows = static_cast<int>(kDifferencesMax) + 1000;
  for (int id = 1; id <= rows; ++id) table_.Set(id, "v");
  store_.held.clear();
  const TableReport report = Verify();
  EXPECT_EQ(
      report.stores[0].differences.size() + static_cast<size_t>(report.stores[0].not_looked_at),
      static_cast<size_t>(rows));
  EXPECT_LE(report.stores[0].differences.size(), kDifferencesMax);
  EXPECT_FALSE(report.equal());
}

TEST_F(VerifierTest, ListsStubs) {
  store_.stubs = {"[7]"};
  const TableReport report = Verify();
  EXPECT_TRUE(report.equal());
  EXPECT_THAT(report.stores[0].stubs, ElementsAre("[7]"));
}

}  // namespace
}  // namespace apex::verify
