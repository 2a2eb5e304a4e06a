#include "stores/postgres/listener.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace apex::postgres {

Listener::Listener(ListenerOptions options)
    : session_({std::move(options.dsn), std::move(options.password), "apex listener",
                /*to_primary=*/true},
               "apex_outbox"),
      interrupt_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Listener::~Listener() { close(interrupt_fd_); }

Result<bool> Listener::Arm(Deadline deadline) {
  Result<Rows> rows = session_.Query("arm", "SELECT apex.arm()", {}, deadline);
  if (!rows.ok()) return rows.error();
  return rows->Bool(0, 0);
}

Result<bool> Listener::Wait(Deadline deadline) {
  Result<bool> notified = session_.AwaitNotification(interrupt_fd_, deadline);
  eventfd_t count = 0;
  eventfd_read(interrupt_fd_, &count);
  return notified;
}

void Listener::Interrupt() { eventfd_write(interrupt_fd_, 1); }

}  // namespace apex::postgres
