// Neo4j, Qdrant and Redis that acknowledge everything at once and keep nothing: what is left of the
// time is the sidecar's own. Serves on free ports of the loopback interface until SIGTERM or
// SIGINT.
#include <signal.h>

#include <cstdio>
#include <exception>

#include "bolt.h"
#include "connections.h"
#include "qdrant.h"
#include "redis.h"

int main() {
  // Blocked before any thread starts, so that only this one takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  try {
    const apex::sink::Qdrant qdrant;
    const int bolt = apex::sink::Listen(apex::sink::ServeBolt);
    const int redis = apex::sink::Listen(apex::sink::ServeRedis);
    std::printf("READY bolt=%d qdrant=%d redis=%d\n", bolt, qdrant.port(), redis);
    std::fflush(stdout);
    int number = 0;
    sigwait(&signals, &number);
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "sink: %s\n", failed.what());
    return 1;
  }
  return 0;
}
