#include "stores/neo4j/framing.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace apex::neo4j {
namespace {

constexpr size_t kChunkBytesMax = 0xFFFF;
constexpr size_t kHeaderBytes = 2;

}  // namespace

void AppendChunked(std::string_view message, std::string& out) {
  while (!message.empty()) {
    const size_t size = std::min(message.size(), kChunkBytesMax);
    out.push_back(static_cast<char>(size >> 8));
    out.push_back(static_cast<char>(size & 0xFF));
    out.append(message.substr(0, size));
    message.remove_prefix(size);
  }
  out.append(kHeaderBytes, '\0');
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
