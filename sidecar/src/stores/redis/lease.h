// The name of a key's lease: what a reader takes at a miss, and what an invalidation takes away
// with the key, so that a value read before a change is not put into the cache after it.
//
// Services that fill the cache themselves compute the same name; docs/reference/cache.md has it.
// Pure and thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace apex::redis {

/// What Redis Cluster takes for the whole of a key when it looks for its slot.
inline bool HasHashTag(std::string_view key) {
  const size_t open = key.find('{');
  const size_t close = open == std::string_view::npos ? open : key.find('}', open + 1);
  return close != std::string_view::npos && close > open + 1;
}

/// Whether the lease lies in the key's slot of a Redis Cluster. A hash tag ends at the first brace,
/// so that a key with one and no hash tag cannot be made into one.
inline bool LeaseIsBeside(std::string_view key) {
  return HasHashTag(key) || key.find('}') == std::string_view::npos;
}

/// The key's hash tag is kept, or the whole key becomes one.
inline std::string LeaseKey(std::string_view key) {
  const bool has_tag = HasHashTag(key);
  std::string lease;
  lease.reserve(key.size() + sizeof "{}#lease");
  if (!has_tag) lease += '{';
  lease += key;
  if (!has_tag) lease += '}';
  return lease += "#lease";
}

}  // namespace apex::redis
