#include "saga/saga_id.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace apex::saga {
namespace {

/// FNV-1a, 64 bits, from any starting point: stable across builds and machines, which std::hash is
/// not.
uint64_t Hash(uint64_t state, std::string_view bytes) {
  for (unsigned char byte : bytes) state = (state ^ byte) * 0x100000001b3ULL;
  return state;
}

uint64_t HashSaga(uint64_t state, std::string_view system_identifier, const Saga& saga) {
  state = Hash(state, system_identifier);
  state = Hash(state, "\t" + std::to_string(saga.xid) + "\t" +
                          std::to_string(saga.aggregate.relation) + "\t");
  state = Hash(state, saga.aggregate.key);
  state ^= state >> 32;  // FNV's low bits alone carry the last byte.
  return state * 0x9e3779b97f4a7c15ULL;
}

}  // namespace

std::string SagaId(std::string_view system_identifier, const Saga& saga) {
  int64_t first_us = saga.changes.front()->captured_at_us;
  for (const ChangePtr& change : saga.changes)
    first_us = std::min(first_us, change->captured_at_us);
  const auto ms = static_cast<uint64_t>(std::max<int64_t>(first_us, 0)) / 1000;
  const uint64_t a = HashSaga(0xcbf29ce484222325ULL, system_identifier, saga);
  const uint64_t b = HashSaga(0x6c62272e07bb0142ULL, system_identifier, saga);
  const std::array<uint64_t, 2> words = {(ms << 16) | 0x7000 | (a >> 52),
                                         (b >> 2) | 0x8000000000000000ULL};

  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (int nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) text.push_back('-');
    text.push_back(kHex[(words[nibble / 16] >> (60 - 4 * (nibble % 16))) & 15]);
  }
  return text;
}

}  // namespace apex::saga
