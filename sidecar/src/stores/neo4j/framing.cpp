#include "stores/neo4j/framing.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace apex::neo4j {
namespace {

constexpr size_t kChunkBytesMax = 0xFFFF;
constexpr size_t kHeaderBytes = 2;

}  // namespace

void AppendChunked(std::initializer_list<std::string_view> message, std::string& out) {
  size_t left = 0;
  for (const std::string_view part : message) left += part.size();
  size_t room = 0;  // In the chunk that has been begun.
  for (std::string_view part : message) {
    while (!part.empty()) {
      if (room == 0) {
        room = std::min(left, kChunkBytesMax);
        out.push_back(static_cast<char>(room >> 8));
        out.push_back(static_cast<char>(room & 0xFF));
      }
      const size_t size = std::min(part.size(), room);
      out.append(part.substr(0, size));
      part.remove_prefix(size);
      room -= size;
      left -= size;
    }
  }
  out.append(kHeaderBytes, '\0');
}

size_t ChunkedSize(size_t message) {
  return message + kHeaderBytes * (message / kChunkBytesMax + 2);
}

std::optional<std::string> Dechunker::Next() {
  size_t at = 0;
  std::optional<std::string> whole;
  while (!whole && !overflowed_ && input_.size() - at >= kHeaderBytes) {
    const size_t size = static_cast<size_t>(static_cast<uint8_t>(input_[at])) << 8 |
                        static_cast<uint8_t>(input_[at + 1]);
    if (size == 0) {
      at += kHeaderBytes;
      if (!message_.empty()) whole = std::exchange(message_, {});
      continue;
    }
    if (input_.size() - at - kHeaderBytes < size) break;
    overflowed_ = message_.size() + size > kIncomingMessageBytesMax;
    message_.append(input_, at + kHeaderBytes, size);
    at += kHeaderBytes + size;
  }
  input_.erase(0, at);
  return whole;
}

}  // namespace apex::neo4j
