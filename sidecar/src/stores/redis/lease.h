// The name of a key's lease: what a reader takes at a miss, and what an invalidation takes away
// with the key, so that a value read before a change is not put into the cache after it.
//
// Services that fill the cache themselves compute the same name; docs/reference/cache.md has it.
// Pure and thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace apex::redis {

/// Lies in the key's slot of a Redis Cluster: the key's hash tag is kept, or the whole key becomes
/// one.
inline std::string LeaseKey(std::string_view key) {
  const size_t open = key.find('{');
  const size_t close = open == std::string_view::npos ? open : key.find('}', open + 1);
  const bool has_tag = close != std::string_view::npos && close > open + 1;
  std::string lease;
  lease.reserve(key.size() + sizeof "{}#lease");
  if (!has_tag) lease += '{';
  lease += key;
  if (!has_tag) lease += '}';
  return lease += "#lease";
}

}  // namespace apex::redis
