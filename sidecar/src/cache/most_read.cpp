#include "cache/most_read.h"

#include <utility>

namespace apex::cache {

void MostRead::Count(const std::string& entity, const std::vector<std::string>& key) {
  std::string name = entity;
  for (const std::string& part : key) name.append(1, '\0').append(part);

  const std::lock_guard lock(mutex_);
  uint64_t count = 0;
  auto known = counted_.find(name);
  if (known != counted_.end()) {
    count = known->second.place->first;
    by_count_.erase(known->second.place);
  } else {
    if (counted_.size() >= most_) {
      const auto least = by_count_.begin();
      count = least->first;
      counted_.erase(least->second);
      by_count_.erase(least);
    }
    known = counted_.emplace(name, Counted{Row{entity, key}, {}}).first;
  }
  known->second.place = by_count_.emplace(count + 1, std::move(name));
}

std::vector<MostRead::Row> MostRead::Top() const {
  const std::lock_guard lock(mutex_);
  std::vector<Row> top;
  for (auto at = by_count_.rbegin(); at != by_count_.rend(); ++at)
    top.push_back(counted_.at(at->second).row);
  return top;
}

}  // namespace apex::cache
