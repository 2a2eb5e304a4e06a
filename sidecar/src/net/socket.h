// A TCP connection whose every wait ends by a deadline.
//
// Owns its descriptor; used by one thread. Errors are the store's it was opened for, and transient:
// whoever knows that a commit was on its way says otherwise.
#pragma once

#include <string_view>

#include "core/deadline.h"
#include "core/result.h"
#include "net/address.h"

namespace apex::net {

class Socket {
 public:
  /// Tries every address the name stands for, each with its share of the time left.
  static Result<Socket> Connect(Store store, const Address& address, Deadline deadline);

  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  /// Sends all of `data`.
  Status Send(std::string_view data, Deadline deadline);
  /// Waits for something to come and appends it. The peer's end of the connection is an error.
  Status Receive(std::string& into, Deadline deadline);
  /// Appends what has come already, without waiting.
  Status ReceiveAvailable(std::string& into);

 private:
  Socket(Store store, int descriptor) : store_(store), descriptor_(descriptor) {}

  Store store_;
  int descriptor_ = -1;
};

}  // namespace apex::net
