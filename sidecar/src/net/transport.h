// Bytes to a server and back, encrypted when asked for.
//
// Used by one thread. A failed transport is of no further use.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/deadline.h"
#include "core/result.h"
#include "net/address.h"

namespace apex::net {

class Transport {
 public:
  /// Connects and, where asked, agrees on TLS 1.2 or newer. Errors are `store`'s.
  static Result<std::unique_ptr<Transport>> Connect(Store store, const Address& address,
                                                    const std::optional<Tls>& tls,
                                                    Deadline deadline);

  virtual ~Transport() = default;

  /// Sends all of `data`. What the server answers meanwhile waits in the system's buffers: answers
  /// to one flush are small.
  virtual Status Write(std::string_view data, Deadline deadline) = 0;
  /// Waits for something to come and appends it.
  virtual Status Read(std::string& into, Deadline deadline) = 0;
  /// Appends what has come already; an error says that the connection is gone.
  virtual Status ReadAvailable(std::string& into) = 0;
};

}  // namespace apex::net
