// Bolt's chunks: a message travels as pieces of at most 65,535 bytes, each behind its length,
// closed by a zero length. A zero length outside a message is the peer saying that it is still
// there.
//
// Not thread-safe; one Dechunker belongs to one connection.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace apex::neo4j {

/// One message from the server may not be larger. We ask for counts, so this is generous; it bounds
/// the input buffer.
inline constexpr size_t kIncomingMessageBytesMax = 16 << 20;

/// One message, whose parts stand one after the other.
void AppendChunked(std::initializer_list<std::string_view> message, std::string& out);
inline void AppendChunked(std::string_view message, std::string& out) {
  AppendChunked({message}, out);
}
/// What a message of this size takes at most.
size_t ChunkedSize(size_t message);

class Dechunker {
 public:
  /// Where the transport appends what it received.
  std::string& input() { return input_; }

  /// The next whole message; nullopt: more input is needed, or the message is over the bound.
  std::optional<std::string> Next();

  /// True once the peer sent a message over the bound: the connection is of no use any more.
  bool overflowed() const { return overflowed_; }

 private:
  std::string input_;
  std::string message_;  ///< What has come of the message that is being received.
  bool overflowed_ = false;
};

}  // namespace apex::neo4j
