// What `apex verify` and `apex repair` say.
#pragma once

#include <string>
#include <vector>

#include "verify/repairer.h"
#include "verify/verifier.h"

namespace apex::cli {

/// No store differs from PostgreSQL in any of the tables.
bool AllEqual(const std::vector<verify::TableReport>& reports);

/// A table of counts, then every difference that is named, parked rows and stubs apart.
std::string ShowReports(const std::vector<verify::TableReport>& reports);

/// The same for programs, complete.
std::string ReportsAsJson(const std::vector<verify::TableReport>& reports);

/// What would be done about it.
std::string ShowPlan(const verify::TableReport& report, const verify::RepairPlan& plan);

}  // namespace apex::cli
