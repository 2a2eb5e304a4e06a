// Finds the primary that a group of Redis Sentinels watches over.
//
// Used by one thread. A sentinel that answered is asked first the next time.
#pragma once

#include <vector>

#include "core/deadline.h"
#include "core/result.h"
#include "net/address.h"
#include "stores/redis/target.h"

namespace apex::redis {

class Sentinels {
 public:
  explicit Sentinels(const Target& target);

  /// Asks one after the other, each with its share of the time left, until one knows. The error is
  /// transient.
  Result<net::Address> FindPrimary(Deadline deadline);

 private:
  Result<net::Address> Ask(const net::Address& sentinel, Deadline deadline) const;

  const Target target_;
  std::vector<net::Address> known_;
};

}  // namespace apex::redis
