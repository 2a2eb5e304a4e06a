// The one port: metrics, health, API and console.
//
// Serves from the moment it is started until it is destroyed, on threads of its own; the
// endpoints must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "http/router.h"

namespace apex::http {

/// In the user's words, for instance that the address is taken.
struct ListenError {
  std::string message;
};

class HttpServer {
 public:
  /// `listen` is "host:port"; port 0 takes a free one.
  static std::variant<std::unique_ptr<HttpServer>, ListenError> Start(const std::string& listen,
                                                                      std::string token,
                                                                      Endpoints endpoints);
  /// Waits for requests under way.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace apex::http
