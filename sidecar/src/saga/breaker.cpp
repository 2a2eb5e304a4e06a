#include "saga/breaker.h"

#include <algorithm>

namespace apex::saga {

void Breaker::Answered() {
  failures_ = 0;
  probing_ = false;
}

void Breaker::Failed(Time now, std::optional<Time> retry_after, std::mt19937_64& random) {
  if (failures_ == 0) failing_since_ = now;
  const Time delay = backoff_.Delay(failures_, random);
  ++failures_;
  probing_ = false;
  retry_at_ = now + std::max(delay, retry_after.value_or(Time{0}));
}

std::optional<Time> Breaker::retry_at() const {
  if (failures_ == 0 || probing_) return std::nullopt;
  return retry_at_;
}

std::optional<Time> Breaker::failing_since() const {
  if (failures_ == 0) return std::nullopt;
  return failing_since_;
}

}  // namespace apex::saga
