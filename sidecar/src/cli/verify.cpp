// `apex verify` and `apex repair`.
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/app.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/verify_report.h"
#include "cli/verify_session.h"

namespace apex::cli {
namespace {

using verify::TableReport;

/// A repair is verified; what is left is repaired again so many times.
constexpr int kRepairsMax = 3;

int Complain(const VerifyRefusal& refusal) {
  if (const auto* error = std::get_if<StoreError>(&refusal)) return Complain(*error);
  std::cerr << "apex: " << std::get<config::ConfigError>(refusal).message << "\n";
  return kUsage;
}

int ShowPlans(const std::vector<TableReport>& reports) {
  for (const TableReport& report : reports) {
    if (!report.equal()) std::cout << ShowPlan(report, verify::PlanRepair(report));
  }
  return kFailure;
}

}  // namespace

int Verify(const config::Config& config, const std::vector<std::string>& tables, bool json) {
  auto opened = VerifySession::Open(config, tables);
  if (const auto* refusal = std::get_if<VerifyRefusal>(&opened)) return Complain(*refusal);
  Result<std::vector<TableReport>> reports =
      std::get<std::unique_ptr<VerifySession>>(opened)->VerifyAll();
  if (!reports.ok()) return Complain(reports.error());
  std::cout << (json ? ReportsAsJson(*reports) : ShowReports(*reports));
  return AllEqual(*reports) ? kSuccess : kFailure;
}

int Repair(const config::Config& config, const std::vector<std::string>& tables, bool dry_run) {
  auto opened = VerifySession::Open(config, tables);
  if (const auto* refusal = std::get_if<VerifyRefusal>(&opened)) return Complain(*refusal);
  VerifySession& session = *std::get<std::unique_ptr<VerifySession>>(opened);
  for (int repairs = 0;; ++repairs) {
    Result<std::vector<TableReport>> reports = session.VerifyAll();
    if (!reports.ok()) return Complain(reports.error());
    std::cout << ShowReports(*reports);
    if (AllEqual(*reports)) return kSuccess;
    if (dry_run) return ShowPlans(*reports);
    if (repairs == kRepairsMax) return kFailure;
    for (const TableReport& report : *reports) {
      if (report.equal()) continue;
      std::cout << ShowPlan(report, verify::PlanRepair(report));
      if (Status mended = session.Mend(report); !mended.ok()) return Complain(mended.error());
    }
    if (Status arrived = session.AwaitArrival(); !arrived.ok()) return Complain(arrived.error());
    std::cout << "\nmended; verifying again\n\n";
  }
}

}  // namespace apex::cli
