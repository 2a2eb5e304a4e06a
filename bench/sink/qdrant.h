// Qdrant as the sidecar sees it: every operation of every request is Completed, a collection is
// what it was created as.
#pragma once

#include <memory>

namespace apex::sink {

class Qdrant {
 public:
  /// Serves until it is destroyed. Throws std::runtime_error when it cannot listen.
  Qdrant();
  ~Qdrant();

  int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apex::sink
