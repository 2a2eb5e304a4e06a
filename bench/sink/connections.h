// A loopback listener with one blocking thread a connection: what the sink's Bolt and Redis share.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace apex::sink {

/// One client. Used by its thread alone.
class Peer {
 public:
  explicit Peer(int descriptor) : descriptor_(descriptor) {}
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Appends what has come, after waiting for it. False at the end of the connection.
  bool Receive(std::string& into);
  /// False when the client has gone.
  bool Send(std::string_view bytes);

 private:
  int descriptor_;
};

/// Serves each connection with `serve` until it returns, for as long as the process lives. Returns
/// the port, a free one of the loopback interface; throws std::system_error when there is none.
uint16_t Listen(std::function<void(Peer&)> serve);

}  // namespace apex::sink
