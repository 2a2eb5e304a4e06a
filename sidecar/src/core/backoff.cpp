#include "core/backoff.h"

#include <algorithm>

namespace apex {

std::chrono::milliseconds Backoff::Delay(int attempt, std::mt19937_64& random) const {
  const int64_t cap = std::max<int64_t>(max_ms, 1);
  int64_t ceiling = std::clamp<int64_t>(initial_ms, 1, cap);
  for (int i = 0; i < attempt && ceiling < cap; ++i)
    ceiling = ceiling > cap / 2 ? cap : ceiling * 2;

  // A plain remainder instead of std::uniform_int_distribution, whose sequence differs between
  // standard libraries: its bias over 2^64 is immaterial here.
  const int64_t floor = ceiling - ceiling / 2;
  const auto span = static_cast<uint64_t>(ceiling - floor) + 1;
  return std::chrono::milliseconds(floor + static_cast<int64_t>(random() % span));
}

}  // namespace apex
