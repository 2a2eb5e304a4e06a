#include "connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace apex::sink {
namespace {

constexpr size_t kReceiveBytes = 256 << 10;

[[noreturn]] void Fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

}  // namespace

Peer::~Peer() { close(descriptor_); }

bool Peer::Receive(std::string& into) {
  thread_local std::vector<char> buffer(kReceiveBytes);
  const ssize_t received = recv(descriptor_, buffer.data(), buffer.size(), 0);
  if (received <= 0) return false;
  into.append(buffer.data(), static_cast<size_t>(received));
  return true;
}

bool Peer::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

uint16_t Listen(std::function<void(Peer&)> serve) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) Fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, size) != 0) Fail("bind");
  if (listen(listener, SOMAXCONN) != 0) Fail("listen");
  if (getsockname(listener, generic, &size) != 0) Fail("getsockname");
  std::thread([listener, serve = std::move(serve)] {
    for (;;) {
      const int descriptor = accept(listener, nullptr, nullptr);
      if (descriptor < 0) continue;
      const int on = 1;
      setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::thread([descriptor, serve] {
        Peer peer(descriptor);
        serve(peer);
      }).detach();
    }
  }).detach();
  return ntohs(address.sin_port);
}

}  // namespace apex::sink
