// Sleeps until something was committed. Arm, read once more, then Wait: a commit between arming and
// waiting is not missed.
//
// Has a connection of its own, which never sits in a transaction. Used by one thread, but Interrupt
// is for any.
#pragma once

#include <string>

#include "core/deadline.h"
#include "core/result.h"
#include "stores/postgres/session.h"

namespace apex::postgres {

struct ListenerOptions {
  std::string dsn;
  std::string password;
};

class Listener {
 public:
  explicit Listener(ListenerOptions options);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// True: a notification will come at the next commit that changed an attached table. False:
  /// nobody sends any here, poll.
  Result<bool> Arm(Deadline deadline);

  /// True: notified. False: interrupted, or the deadline passed. Without a connection it sleeps
  /// until then, which makes a caller that ignores errors poll.
  Result<bool> Wait(Deadline deadline);

  /// Ends the Wait that is running, or the next one.
  void Interrupt();

 private:
  Session session_;
  int interrupt_fd_;
};

}  // namespace apex::postgres
