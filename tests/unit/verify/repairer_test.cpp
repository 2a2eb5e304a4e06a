#include "verify/repairer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace apex::verify {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Difference Make(Kind kind, int id, std::optional<int64_t> version = 5) {
  Difference difference;
  difference.kind = kind;
  difference.held = FakeStore::Make(KeyOf(id), "v", 0);
  difference.held.version = version;
  return difference;
}

TableReport ReportOf(std::vector<Difference> differences) {
  TableReport report;
  report.mapping = MakeMapping();
  report.stores.emplace_back().store = Store::kNeo4j;
  report.stores[0].differences = std::move(differences);
  return report;
}

/// Remembers what was undone.
class FakeTarget : public TargetStore {
 public:
  Store store() const override { return Store::kNeo4j; }
  Status Prepare(const Fence&, std::span<const MappingPtr>, Deadline) override { return {}; }
  Status Write(const Fence&, std::span<const RowWrite>, Deadline) override { return {}; }
  Result<bool> Truncate(const Fence&, const Change&, Deadline) override { return true; }
  Status Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline) override {
    epoch = fence.epoch;
    undone.insert(undone.end(), rows.begin(), rows.end());
    return {};
  }
  Status Ping(Deadline) override { return {}; }

  int64_t epoch = 0;
  std::vector<RowUndo> undone;
};

TEST(PlanRepairTest, RefreshesWhatIsMissingOrStaleOnceForAllStores) {
  TableReport report = ReportOf({Make(Kind::kMissing, 1), Make(Kind::kStale, 2)});
  report.stores.push_back(report.stores[0]);
  const RepairPlan plan = PlanRepair(report);
  EXPECT_THAT(plan.refreshes, ElementsAre("[1]", "[2]"));
  EXPECT_THAT(plan.removals, IsEmpty());
}

TEST(PlanRepairTest, DeletesTheVersionThatWasSeenOfAnExtraRow) {
  const RepairPlan plan = PlanRepair(ReportOf({Make(Kind::kExtra, 3, 7)}));
  EXPECT_THAT(plan.refreshes, IsEmpty());
  const std::vector<RowUndo>& removals = plan.removals.at(Store::kNeo4j);
  ASSERT_THAT(removals, SizeIs(1));
  EXPECT_EQ(removals[0].row.key, "[3]");
  EXPECT_EQ(removals[0].failed_seq, 7);
  EXPECT_EQ(removals[0].accepted_seq, 6);
  EXPECT_FALSE(removals[0].accepted);
}

TEST(PlanRepairTest, SendsTheDeleteOfWhatHasNoVersion) {
  const RepairPlan plan = PlanRepair(ReportOf({Make(Kind::kExtra, 3, std::nullopt)}));
  EXPECT_THAT(plan.refreshes, ElementsAre("[3]"));
  EXPECT_THAT(plan.removals, IsEmpty());
}

TEST(PlanRepairTest, RemovesWhatIsAheadBeforeItIsSentAgain) {
  Difference ahead = Make(Kind::kStale, 4, 5000);
  ahead.is_ahead = true;
  const RepairPlan plan = PlanRepair(ReportOf({ahead}));
  EXPECT_THAT(plan.refreshes, ElementsAre("[4]"));
  EXPECT_THAT(plan.removals.at(Store::kNeo4j), SizeIs(1));
}

TEST(PlanRepairTest, RemovesEveryVersionOfCopies) {
  Difference copies = Make(Kind::kStale, 4);
  copies.copies = {FakeStore::Make(KeyOf(4), "v", 5), FakeStore::Make(KeyOf(4), "v", 6),
                   FakeStore::Make(KeyOf(4), "v", 6)};
  const RepairPlan plan = PlanRepair(ReportOf({copies}));
  EXPECT_THAT(plan.removals.at(Store::kNeo4j), SizeIs(2));
  EXPECT_THAT(plan.refreshes, ElementsAre("[4]"));
}

TEST(PlanRepairTest, SaysWhatItCannotMend) {
  Difference nameless = Make(Kind::kExtra, 5);
  nameless.held.key.reset();
  const RepairPlan plan = PlanRepair(ReportOf({nameless}));
  EXPECT_THAT(plan.not_mended, SizeIs(1));
}

TEST(RepairerTest, DeletesUnderTheLeadersEpochAndRefreshesBehind) {
  FakeTable table;
  FakeTarget target;
  Repairer repairer(table, {{Store::kNeo4j, &target}}, {"default", 9});
  const TableReport report = ReportOf({Make(Kind::kExtra, 1), Make(Kind::kMissing, 2)});
  ASSERT_TRUE(repairer.Carry(report.mapping, PlanRepair(report)).ok());
  EXPECT_EQ(target.epoch, 9);
  ASSERT_THAT(target.undone, SizeIs(1));
  EXPECT_EQ(target.undone[0].row.key, "[1]");
  EXPECT_THAT(table.refreshed, ElementsAre("[2]"));
}

TEST(RepairerTest, LeavesARowThatHasComeBackMeanwhile) {
  FakeTable table;
  FakeTarget target;
  Repairer repairer(table, {{Store::kNeo4j, &target}}, {"default", 9});
  const TableReport report = ReportOf({Make(Kind::kExtra, 1)});
  table.Set(1, "back");
  ASSERT_TRUE(repairer.Carry(report.mapping, PlanRepair(report)).ok());
  EXPECT_THAT(target.undone, IsEmpty());
}

}  // namespace
}  // namespace apex::verify
