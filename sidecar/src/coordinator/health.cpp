#include "coordinator/health.h"

#include <utility>

namespace apex::coordinator {

std::string_view Name(Role role) {
  switch (role) {
    case Role::kStarting: return "starting";
    case Role::kStandby: return "standby";
    case Role::kLeader: return "leader";
    case Role::kStopping: return "stopping";
  }
  return "unknown";
}

void Health::SetRole(Role role, int64_t epoch) {
  const std::lock_guard lock(mutex_);
  role_ = role;
  epoch_ = epoch;
}

void Health::SetUp(Store store) {
  const std::lock_guard lock(mutex_);
  stores_[store] = {true, "", false};
}

bool Health::SetDown(Store store, std::string why) {
  const std::lock_guard lock(mutex_);
  StoreState& state = stores_[store];
  const bool announced = state.announced;
  state = {false, std::move(why), true};
  return !announced;
}

Role Health::role() const {
  const std::lock_guard lock(mutex_);
  return role_;
}

int64_t Health::epoch() const {
  const std::lock_guard lock(mutex_);
  return epoch_;
}

std::map<Store, Health::StoreState> Health::stores() const {
  const std::lock_guard lock(mutex_);
  return stores_;
}

std::vector<std::string> Health::NotReady() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> reasons;
  if (role_ == Role::kStarting) reasons.emplace_back("starting");
  if (role_ == Role::kStopping) reasons.emplace_back("stopping");
  for (const auto& [store, state] : stores_) {
    if (state.up || (role_ == Role::kStandby && store != Store::kPostgres)) continue;
    reasons.push_back(std::string(apex::Name(store)) + ": " + state.last_error);
  }
  return reasons;
}

}  // namespace apex::coordinator
