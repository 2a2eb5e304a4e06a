// One seeded run: writers, leaders that are killed, stopped and paused, standbys that take over,
// three stores that fail, and a checker.
//
// The engine under test is the real one, everything around it is simulated in virtual time. A run
// has a stormy part and a calm one, after which the guarantees must hold.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "replica.h"
#include "surroundings.h"

namespace apex::sim {

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  SimReport Run();

 private:
  // The storm.
  void ScheduleWriters();
  void ScheduleFaults();
  void HarmLeader();
  void CrashStore(Store store);

  // Leadership.
  void Lead();
  void PauseLeader();
  void CallStandbyIfGone();

  // The checker.
  bool Quiet() const;
  void CheckStores();
  void CheckRow(Store store, const RowId& row, const SimPostgres::Truth& truth);

  const SimOptions options_;
  Dice dice_;
  Scheduler scheduler_;
  SimCounts counts_;
  Violations violations_;
  SimPostgres postgres_;
  std::map<Store, Target> targets_;
  Surroundings around_;

  saga::EngineOptions engine_options_;
  std::vector<std::unique_ptr<Replica>> replicas_;  ///< The last one led last.
  bool standby_called_ = false;
  int64_t transactions_wanted_ = 0;
  bool writing_ = true;
};

}  // namespace apex::sim
