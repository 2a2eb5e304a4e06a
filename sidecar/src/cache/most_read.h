// Which rows are asked for most, of more than can be counted.
//
// Counts a bounded number of them: one that is new takes the place, and the count, of the least
// read (the "space saving" sketch), so that what is read often is among them however much else is
// read. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace apex::cache {

class MostRead {
 public:
  struct Row {
    std::string entity;
    std::vector<std::string> key;
  };

  explicit MostRead(size_t most) : most_(most) {}

  void Count(const std::string& entity, const std::vector<std::string>& key);
  /// The most read first.
  std::vector<Row> Top() const;

 private:
  struct Counted {
    Row row;
    std::multimap<uint64_t, std::string>::iterator place;
  };

  const size_t most_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Counted> counted_;  ///< By entity and key, joined.
  std::multimap<uint64_t, std::string> by_count_;
};

}  // namespace apex::cache
