#include "cache/warmer.h"

#include <spdlog/spdlog.h>

namespace apex::cache {
namespace {

constexpr std::chrono::milliseconds kInterval{1000};
constexpr std::chrono::milliseconds kPatience{500};
/// 200 rows a second: readers who miss come first.
constexpr std::chrono::milliseconds kBetweenRows{5};

}  // namespace

Warmer::Warmer(redis::CacheEntries& entries, ReadThrough& rows)
    : entries_(entries), rows_(rows), thread_([this] { Look(); }) {}

Warmer::~Warmer() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void Warmer::Look() {
  std::optional<redis::ServerLife> earlier;
  while (Pause(kInterval)) {
    Result<redis::ServerLife> life = entries_.Life(Deadline::After(kPatience));
    if (!life.ok()) continue;
    if (earlier && life->LostKeysSince(*earlier)) Warm();
    earlier = *std::move(life);
  }
}

void Warmer::Warm() {
  const std::vector<MostRead::Row> rows = rows_.most_read();
  if (rows.empty()) return;
  spdlog::info("redis has lost its keys: reading the {} most read rows again", rows.size());
  for (const MostRead::Row& row : rows) {
    rows_.Load(row.entity, row.key);
    if (!Pause(kBetweenRows)) return;
  }
}

bool Warmer::Pause(std::chrono::milliseconds span) {
  std::unique_lock lock(mutex_);
  return !ended_.wait_for(lock, span, [this] { return end_; });
}

}  // namespace apex::cache
