#include "core/uuid7_generator.h"

namespace apex {

bool RandomPool::Refill(std::int64_t process_id) {
  words_left_ = 0;
  if (!fill_(words_.data(), sizeof(words_))) return false;
  process_id_ = process_id;
  words_left_ = kWords;
  return true;
}

std::optional<Uuid> Uuid7Generator::At(std::uint64_t tick, std::int64_t process_id) {
  const std::optional<std::uint64_t> random = pool_.Take(process_id);
  if (!random) return std::nullopt;
  return MakeUuid7(tick, *random & kUuid7TailMax);
}

}  // namespace apex
