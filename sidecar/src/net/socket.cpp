#include "net/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "net/errors.h"

namespace apex::net {
namespace {

/// On the stack, which is small in the threads of the HTTP server.
constexpr size_t kReceiveBytes = 16 << 10;

struct FreeAddressInfo {
  void operator()(addrinfo* info) const { freeaddrinfo(info); }
};
using AddressInfo = std::unique_ptr<addrinfo, FreeAddressInfo>;

struct Lookup {
  AddressInfo info;
  int error = 0;
};

StoreError Failure(Store store, std::string_view code, std::string message) {
  return {store,       "connect", ErrorKind::kTransient, std::string(code), std::move(message),
          std::nullopt};
}

StoreError Lost(Store store, int error) {
  return Failure(
      store, kConnectionLost,
      error == 0 ? "the server closed the connection" : std::system_category().message(error));
}

StoreError TimedOut(Store store, std::string_view doing) {
  return Failure(store, kTimeout, "timed out " + std::string(doing));
}

Lookup Ask(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* info = nullptr;
  const int error =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &info);
  return Lookup{AddressInfo(error == 0 ? info : nullptr), error};
}

/// The resolver takes no deadline, so a name is looked up beside this thread and left behind when
/// it takes too long; the resolver's own timeouts end it.
Result<AddressInfo> Resolve(Store store, const Address& address, Deadline deadline) {
  Lookup numeric = Ask(address, AI_NUMERICHOST);
  if (numeric.error == 0) return std::move(numeric.info);

  std::packaged_task<Lookup()> task([address] { return Ask(address, 0); });
  std::future<Lookup> answer = task.get_future();
  std::thread(std::move(task)).detach();
  if (answer.wait_until(deadline.when()) != std::future_status::ready) {
    return TimedOut(store, "looking up " + address.host);
  }
  Lookup found = answer.get();
  if (found.error != 0)
    return Failure(store, kConnectFailed, address.host + ": " + gai_strerror(found.error));
  return std::move(found.info);
}

/// 0 when the descriptor is ready, ETIMEDOUT, or poll's own error.
int Wait(int descriptor, short events, Deadline deadline) {
  for (;;) {
    pollfd waiting{descriptor, events, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(deadline.remaining().count()));
    if (ready > 0) return 0;
    if (ready == 0 && deadline.expired()) return ETIMEDOUT;
    if (ready < 0 && errno != EINTR) return errno;
  }
}

int ConnectTo(int descriptor, const addrinfo& info, Deadline deadline) {
  if (connect(descriptor, info.ai_addr, info.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS && errno != EINTR) return errno;
  if (const int error = Wait(descriptor, POLLOUT, deadline); error != 0) return error;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

Result<Socket> Socket::Connect(Store store, const Address& address, Deadline deadline) {
  Result<AddressInfo> found = Resolve(store, address, deadline);
  if (!found.ok()) return found.error();

  int left = 0;
  for (const addrinfo* info = found->get(); info != nullptr; info = info->ai_next) ++left;
  int error = 0;
  for (const addrinfo* info = found->get(); info != nullptr; info = info->ai_next, --left) {
    Socket candidate(store, socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                                   info->ai_protocol));
    if (candidate.descriptor_ < 0) {
      error = errno;
      continue;
    }
    error = ConnectTo(candidate.descriptor_, *info, Deadline::After(deadline.remaining() / left));
    if (error != 0) continue;
    // Requests go out whole, and a peer that vanished must be noticed while nothing is sent.
    const int on = 1;
    setsockopt(candidate.descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(candidate.descriptor_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return candidate;
  }
  if (error == ETIMEDOUT) return TimedOut(store, "connecting to " + ToString(address));
  return Failure(store, kConnectFailed,
                 ToString(address) + ": " + std::system_category().message(error));
}

Socket::Socket(Socket&& other) noexcept
    : store_(other.store_), descriptor_(std::exchange(other.descriptor_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status Socket::Send(std::string_view data, Deadline deadline) {
  while (!data.empty()) {
    const ssize_t sent = send(descriptor_, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      data.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return Lost(store_, errno);
    const int error = Wait(descriptor_, POLLOUT, deadline);
    if (error == ETIMEDOUT) return TimedOut(store_, "sending");
    if (error != 0) return Lost(store_, error);
  }
  return {};
}

Status Socket::Receive(std::string& into, Deadline deadline) {
  const size_t before = into.size();
  for (;;) {
    if (Status status = ReceiveAvailable(into); !status.ok() || into.size() > before) return status;
    const int error = Wait(descriptor_, POLLIN, deadline);
    if (error == ETIMEDOUT) return TimedOut(store_, "waiting for an answer");
    if (error != 0) return Lost(store_, error);
  }
}

Status Socket::ReceiveAvailable(std::string& into) {
  std::array<char, kReceiveBytes> buffer;
  for (;;) {
    const ssize_t received = recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (received > 0) {
      into.append(buffer.data(), static_cast<size_t>(received));
      return {};
    }
    if (received == 0) return Lost(store_, 0);
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    return Lost(store_, errno);
  }
}

}  // namespace apex::net
