// Brings back the most read rows when Redis has lost everything: it was flushed, or started anew.
//
// Looks from a thread of its own, from its making to its end. What it reads must outlive it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "cache/read_through.h"
#include "stores/redis/cache_entries.h"

namespace apex::cache {

class Warmer {
 public:
  Warmer(redis::CacheEntries& entries, ReadThrough& rows);
  ~Warmer();
  Warmer(const Warmer&) = delete;
  Warmer& operator=(const Warmer&) = delete;

 private:
  void Look();
  void Warm();
  /// False once it is to end.
  bool Pause(std::chrono::milliseconds span);

  redis::CacheEntries& entries_;
  ReadThrough& rows_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace apex::cache
