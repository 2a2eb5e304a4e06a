// Preloaded, stops the process just before it sends certain bytes to a certain port, once: the worst place for a leader
// that a scheduler, a debugger or a hypervisor may hold up anywhere.
//
// APEX_STOP_PORT is the peer's port. While the file APEX_STOP_FILE exists, a send whose bytes contain what it holds
// removes it and stops.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// gRPC speaks to an IPv4 address by an IPv6 socket.
static int goes_to_port(int descriptor) {
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  const char* port = getenv("APEX_STOP_PORT");
  if (port == NULL || getpeername(descriptor, (struct sockaddr*)&peer, &size) != 0) return 0;
  if (peer.ss_family == AF_INET) return ntohs(((struct sockaddr_in*)&peer)->sin_port) == atoi(port);
  return peer.ss_family == AF_INET6 && ntohs(((struct sockaddr_in6*)&peer)->sin6_port) == atoi(port);
}

static void stop_at(int descriptor, const void* bytes, size_t size) {
  const char* path = getenv("APEX_STOP_FILE");
  if (path == NULL || access(path, F_OK) != 0 || !goes_to_port(descriptor)) return;
  char wanted[256];
  const int file = open(path, O_RDONLY);
  if (file < 0) return;
  const ssize_t length = read(file, wanted, sizeof wanted);
  close(file);
  if (length <= 0 || memmem(bytes, size, wanted, (size_t)length) == NULL) return;
  if (unlink(path) == 0) kill(getpid(), SIGSTOP);
}

ssize_t send(int descriptor, const void* bytes, size_t size, int flags) {
  static ssize_t (*next)(int, const void*, size_t, int);
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "send");
  stop_at(descriptor, bytes, size);
  return next(descriptor, bytes, size, flags);
}

ssize_t sendmsg(int descriptor, const struct msghdr* message, int flags) {
  static ssize_t (*next)(int, const struct msghdr*, int);
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "sendmsg");
  for (size_t i = 0; i < message->msg_iovlen; ++i)
    stop_at(descriptor, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
  return next(descriptor, message, flags);
}
