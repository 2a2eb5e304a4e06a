#include "http/http_server.h"

#include <civetweb.h>

#include <array>
#include <atomic>
#include <future>
#include <string_view>
#include <system_error>

#include "core/uri.h"

namespace apex::http {
namespace {

/// Each serves one connection at a time. More than may wait for a store (CacheService's bound), so
/// that /livez always finds one.
constexpr const char* kThreads = "64";
/// Clients that connect at once and find no thread free wait here.
constexpr const char* kBacklog = "1024";
constexpr const char* kRequestTimeoutMs = "10000";

std::string Head(const Response& response) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     mg_get_response_code_text(nullptr, response.status);
  // What has not changed has no body, and the lengths of one would be another's.
  if (response.status != 304) {
    head += "\r\nContent-Type: " + response.content_type +
            "\r\nContent-Length: " + std::to_string(response.body.size());
  }
  for (const auto& [name, value] : response.headers)
    head.append("\r\n").append(name).append(": ").append(value);
  return head + "\r\nConnection: close\r\n\r\n";
}

/// The library's threads have a stack of 100 KB, which a connection to a store, with names to
/// resolve and TLS, uses up.
Response OnAStackOfItsOwn(Router& router, const Request& request) {
  try {
    return std::async(std::launch::async, [&] { return router.Handle(request); }).get();
  } catch (const std::system_error&) {
    return {503, "application/json", "{\"error\":\"no thread could be started\"}\n", {}};
  }
}

struct ContextDeleter {
  void operator()(mg_context* context) const { mg_stop(context); }
};

}  // namespace

struct HttpServer::Impl {
  Impl(std::string token, Endpoints endpoints) : router(std::move(token), std::move(endpoints)) {
    mg_init_library(MG_FEATURES_DEFAULT);
  }
  ~Impl() {
    context.reset();
    mg_exit_library();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  static int Serve(mg_connection* connection, void* data) {
    const mg_request_info& info = *mg_get_request_info(connection);
    const auto header = [connection](const char* name) -> std::string {
      const char* const value = mg_get_header(connection, name);
      return value != nullptr ? value : "";
    };
    const std::string_view uri = info.request_uri;
    const Response response = OnAStackOfItsOwn(
        static_cast<Impl*>(data)->router, {.method = info.request_method,
                                           .path = info.local_uri,
                                           .raw_path = std::string(uri.substr(0, uri.find('?'))),
                                           .authorization = header("Authorization"),
                                           .if_none_match = header("If-None-Match")});
    const std::string head = Head(response);
    mg_write(connection, head.data(), head.size());
    if (std::string_view(info.request_method) != "HEAD")
      mg_write(connection, response.body.data(), response.body.size());
    return response.status;
  }

  /// Keeps what the library says while it starts, which is why it could not; later words are about
  /// clients and dropped.
  static int KeepFirstWords(const mg_connection* connection, const char* message) {
    const mg_context* const library = connection != nullptr ? mg_get_context(connection) : nullptr;
    auto* const impl = library != nullptr ? static_cast<Impl*>(mg_get_user_data(library)) : nullptr;
    if (impl != nullptr && !impl->started && impl->first_words.empty()) impl->first_words = message;
    return 1;
  }

  Router router;
  std::string first_words;  ///< Written by the starting thread, before `started`.
  std::atomic<bool> started{false};
  std::unique_ptr<mg_context, ContextDeleter> context;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

std::variant<std::unique_ptr<HttpServer>, ListenError> HttpServer::Start(const std::string& listen,
                                                                         std::string token,
                                                                         Endpoints endpoints) {
  auto impl = std::make_unique<Impl>(std::move(token), std::move(endpoints));
  mg_callbacks callbacks{};
  callbacks.log_message = &Impl::KeepFirstWords;
  // A key may have a slash in it, which is told from those between its parts as long as it is
  // encoded.
  std::array<const char*, 13> options{"decode_url",
                                      "no",
                                      "listening_ports",
                                      listen.c_str(),
                                      "num_threads",
                                      kThreads,
                                      "listen_backlog",
                                      kBacklog,
                                      "request_timeout_ms",
                                      kRequestTimeoutMs,
                                      "enable_keep_alive",
                                      "no",
                                      nullptr};
  std::array<char, 256> text{};
  mg_init_data init{
      .callbacks = &callbacks, .user_data = impl.get(), .configuration_options = options.data()};
  // Its other fields differ between versions of the library, and are not needed.
  mg_error_data error{};
  error.text = text.data();
  error.text_buffer_size = text.size();
  impl->context.reset(mg_start2(&init, &error));
  if (!impl->context) {
    const std::string why =
        impl->first_words.empty() ? std::string(text.data()) : impl->first_words;
    return ListenError{"http.listen (APEX_HTTP_LISTEN): cannot listen on " + listen + ": " + why};
  }
  impl->started = true;
  mg_set_request_handler(impl->context.get(), "/", &Impl::Serve, impl.get());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

uint16_t HttpServer::port() const {
  mg_server_port port{};
  mg_get_server_ports(impl_->context.get(), 1, &port);
  return static_cast<uint16_t>(port.port);
}

}  // namespace apex::http
