#include "stores/qdrant/vector_memory.h"

#include <array>
#include <bit>
#include <cstring>

namespace apex::qdrant {
namespace {

// xxHash's primes and rounds. A vector is hashed for every row that is written, so the work goes in
// four lanes that do not wait for each other.
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr size_t kLanes = 4;

uint64_t Round(uint64_t lane, uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

uint64_t Mixed(uint64_t hash) {
  hash ^= hash >> 33;
  hash *= kPrime2;
  hash ^= hash >> 29;
  hash *= kPrime1;
  return hash ^ (hash >> 32);
}

uint64_t HashOf(std::string_view bytes) {
  std::array<uint64_t, kLanes> lanes = {kPrime1, kPrime2, 0, ~kPrime1};
  const size_t size = bytes.size();
  while (bytes.size() >= sizeof lanes) {
    std::array<uint64_t, kLanes> words;
    std::memcpy(words.data(), bytes.data(), sizeof words);
    for (size_t i = 0; i < kLanes; ++i) lanes[i] = Round(lanes[i], words[i]);
    bytes.remove_prefix(sizeof words);
  }
  std::array<uint64_t, kLanes> rest{};
  if (!bytes.empty()) std::memcpy(rest.data(), bytes.data(), bytes.size());
  uint64_t hash = size;
  for (size_t i = 0; i < kLanes; ++i) hash = Mixed(hash ^ Round(lanes[i], rest[i]));
  return hash;
}

uint64_t HashOf(const RowId& row) { return Mixed(RowIdHash{}(row)); }

}  // namespace

void VectorMemory::Remember(const RowId& row, int64_t version, std::string_view embedding) {
  const uint64_t hash = HashOf(row);
  entries_[hash % kVectorsRemembered] = {hash, HashOf(embedding), version};
}

std::optional<int64_t> VectorMemory::VersionWith(const RowId& row,
                                                 std::string_view embedding) const {
  const uint64_t hash = HashOf(row);
  const Entry& entry = entries_[hash % kVectorsRemembered];
  if (entry.version == 0 || entry.row != hash || entry.embedding != HashOf(embedding))
    return std::nullopt;
  return entry.version;
}

}  // namespace apex::qdrant
