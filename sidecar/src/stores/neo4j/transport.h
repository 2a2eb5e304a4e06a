// Bytes to a Neo4j server and back, encrypted when its URI says so.
//
// Used by one thread. A failed transport is of no further use.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/deadline.h"
#include "core/result.h"
#include "stores/neo4j/uri.h"

namespace apex::neo4j {

class Transport {
 public:
  /// Connects and, where asked, agrees on TLS 1.2 or newer.
  static Result<std::unique_ptr<Transport>> Connect(const Address& address, Security security,
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

}  // namespace apex::neo4j
