// What every process of a simulation shares: time, chance, the databases and the network to them.
#pragma once

#include <map>
#include <memory>

#include "dice.h"
#include "options.h"
#include "postgres.h"
#include "scheduler.h"
#include "store.h"

namespace apex::sim {

constexpr int64_t kStormMs = 700;
constexpr int64_t kStoreDeadlineMs = 60;  ///< What is given up lands within it, or never.

struct Window {
  Time from{0};
  Time to{0};
  bool Contains(Time now) const { return from <= now && now < to; }
};

struct Target {
  std::unique_ptr<SimStore> store;
  Window outage;
  Window read_only;
  int64_t lives = 0;  ///< Goes up with each crash: what was on its way to an earlier one is lost.
};

struct Surroundings {
  const SimOptions& options;
  Dice& dice;
  Scheduler& scheduler;
  SimPostgres& postgres;
  std::map<Store, Target>& targets;
  SimCounts& counts;
  Violations& violations;
  int64_t fault_percent = 0;

  Fate DrawFate(Store store) const {
    const Target& target = targets.at(store);
    const Time now = scheduler.now();
    if (target.outage.Contains(now)) return dice.Chance(50) ? Fate::kUnavailable : Fate::kLost;
    if (target.read_only.Contains(now)) return Fate::kRefused;
    if (now >= Time{kStormMs} || !dice.Chance(fault_percent)) return Fate::kArrives;
    constexpr Fate kFates[] = {Fate::kUnavailable, Fate::kLost,        Fate::kLate,
                               Fate::kLate,        Fate::kAnswerLost,  Fate::kCutShort,
                               Fate::kShort,       Fate::kArrivesTwice};
    return kFates[dice.Between(0, 7)];
  }

  /// PostgreSQL crashes, or its answer is lost.
  bool LedgerFails() const {
    return fault_percent > 0 && scheduler.now() < Time{kStormMs} && dice.Chance(2);
  }
};

}  // namespace apex::sim
