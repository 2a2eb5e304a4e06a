// What the process knows of itself right now, for /readyz, /api/v1/status and the log. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/store_error.h"

namespace apex::coordinator {

enum class Role { kStarting, kStandby, kLeader, kStopping };

/// "starting", "standby", "leader", "stopping".
std::string_view Name(Role role);

class Health {
 public:
  struct StoreState {
    bool up = false;
    std::string last_error;  ///< Empty while up.
    bool announced = false;  ///< That it is down.
  };

  explicit Health(const std::vector<Store>& stores) {
    for (Store store : stores) stores_[store] = {false, "not reached yet", false};
  }

  void SetRole(Role role, int64_t epoch = 0);
  void SetUp(Store store);
  /// True when nobody has been told since the store was up.
  bool SetDown(Store store, std::string why);

  Role role() const;
  int64_t epoch() const;
  std::map<Store, StoreState> stores() const;
  /// What keeps the process from doing its work, in plain words; empty: ready. A standby needs
  /// PostgreSQL alone.
  std::vector<std::string> NotReady() const;

 private:
  mutable std::mutex mutex_;
  Role role_ = Role::kStarting;
  int64_t epoch_ = 0;
  std::map<Store, StoreState> stores_;
};

}  // namespace apex::coordinator
