#include "http/router.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "http/console.h"

namespace apex::http {
namespace {

constexpr std::string_view kSagas = "/api/v1/sagas/";
constexpr std::string_view kCache = "/api/v1/cache";
constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr size_t kUuidSize = 36;

using nlohmann::ordered_json;

Response Json(int status, const ordered_json& body) {
  return {.status = status,
          .content_type = "application/json",
          .body = body.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n",
          .headers = {}};
}

Response Error(int status, std::string_view message) { return Json(status, {{"error", message}}); }

Response MethodNotAllowed(const char* allowed) {
  Response response = Error(405, "this address answers " + std::string(allowed));
  response.headers.emplace_back("Allow", allowed);
  return response;
}

Response Console() {
  // The page holds its own script and style and talks to nobody but this server.
  return {.status = 200,
          .content_type = "text/html; charset=utf-8",
          .body = std::string(kConsolePage),
          .headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                       "connect-src 'self'; "
                       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}}};
}

bool IsUuid(std::string_view text) {
  if (text.size() != kUuidSize) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0)
      return false;
  }
  return true;
}

std::array<unsigned char, SHA256_DIGEST_LENGTH> Digest(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

Response Unauthorized(std::string_view what) {
  Response response =
      Error(401, std::string(what) +
                     " needs the header Authorization: Bearer with the token of http.token");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

/// "a/b%2Fc" as {"a", "b/c"}. nullopt: a percent sign without two digits, or an empty part.
std::optional<std::vector<std::string>> PathParts(std::string_view path) {
  const auto digit = [](char c) {
    const auto* const found =
        std::ranges::find(kHexDigits, std::tolower(static_cast<unsigned char>(c)));
    return static_cast<int>(found - kHexDigits.begin());
  };
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '/') {
      parts.emplace_back();
    } else if (path[i] != '%') {
      parts.back() += path[i];
    } else {
      if (i + 2 >= path.size()) return std::nullopt;
      const int high = digit(path[i + 1]);
      const int low = digit(path[i + 2]);
      if (high > 15 || low > 15) return std::nullopt;
      parts.back() += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  if (std::ranges::find(parts, "") != parts.end()) return std::nullopt;
  return parts;
}

/// Names this text among all texts.
std::string EntityTag(std::string_view text) {
  const auto digest = Digest(text);
  std::string tag = "\"";
  for (size_t i = 0; i < digest.size() / 2; ++i) {
    tag += kHexDigits[digest[i] >> 4];
    tag += kHexDigits[digest[i] & 15];
  }
  return tag + "\"";
}

/// `header` is a list of tags; a weak one matches, too.
bool Matches(std::string_view header, const std::string& tag) {
  return header == "*" || header.find(tag) != std::string_view::npos;
}

int StatusOf(const StoreError& error) {
  if (error.kind != ErrorKind::kPermanent) return 503;
  return error.native_code == "P0002" ? 404 : 409;
}

}  // namespace

Router::Router(std::string token, Endpoints endpoints)
    : token_(std::move(token)), endpoints_(std::move(endpoints)) {}

Response Router::Handle(const Request& request) {
  Response response;
  try {
    response = Dispatch(request);
  } catch (const std::exception& problem) {
    response = Error(500, problem.what());
  }
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  // A tagged answer may be kept, and is asked for again each time.
  const bool tagged = std::ranges::any_of(
      response.headers, [](const auto& header) { return header.first == "ETag"; });
  response.headers.emplace_back("Cache-Control", tagged ? "no-cache" : "no-store");
  return response;
}

Response Router::Dispatch(const Request& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const std::string& path = request.path;
  if (path.starts_with(kSagas)) {
    const size_t slash = path.find('/', kSagas.size());
    const std::string action = slash == std::string::npos ? "" : path.substr(slash + 1);
    if (action != "retry" && action != "discard") return Error(404, "there is nothing at " + path);
    if (request.method != "POST") return MethodNotAllowed("POST");
    return ChangeSaga(request, path.substr(kSagas.size(), slash - kSagas.size()), action);
  }

  if (path.starts_with(kCache) && path.size() > kCache.size() && path[kCache.size()] == '/') {
    if (!reads) return MethodNotAllowed("GET, HEAD");
    return ReportCachedRow(request);
  }

  constexpr std::array<std::string_view, 6> kPaths{"/",       "/metrics",       "/livez",
                                                   "/readyz", "/api/v1/status", kCache};
  if (std::ranges::find(kPaths, path) == kPaths.end())
    return Error(404, "there is nothing at " + path);
  if (!reads) return MethodNotAllowed("GET, HEAD");
  if (path == "/metrics") {
    return {.status = 200,
            .content_type = "text/plain; version=0.0.4; charset=utf-8",
            .body = endpoints_.metrics(),
            .headers = {}};
  }
  if (path == "/livez") return Json(200, {{"alive", true}});
  if (path == "/readyz") return Readiness();
  if (path == "/api/v1/status") return ReportStatus();
  if (path == kCache) return ReportCache();
  return Console();
}

Response Router::Readiness() const {
  const std::vector<std::string> missing = endpoints_.not_ready();
  return Json(missing.empty() ? 200 : 503, {{"ready", missing.empty()}, {"not_ready", missing}});
}

Response Router::ReportStatus() {
  const std::lock_guard lock(database_mutex_);
  Result<std::string> status = endpoints_.status();
  if (!status.ok()) return Error(503, Describe(status.error()));
  return {.status = 200,
          .content_type = "application/json",
          .body = *std::move(status) + "\n",
          .headers = {}};
}

Response Router::ReportCache() {
  if (!endpoints_.cache) return Error(404, "there is no cache: redis.uri is not configured");
  Result<std::string> figures = endpoints_.cache();
  if (!figures.ok()) return Error(503, Describe(figures.error()));
  return {.status = 200,
          .content_type = "application/json",
          .body = *std::move(figures) + "\n",
          .headers = {}};
}

// Rows are data, where everything else that can be read here is about the process: a token that is
// configured is needed for them, too.
Response Router::ReportCachedRow(const Request& request) {
  if (!endpoints_.cached_row) return Error(404, "there is no cache: redis.uri is not configured");
  if (!token_.empty() && !TokenMatches(request.authorization)) return Unauthorized("a row");
  const std::string_view raw = request.raw_path;
  auto parts = raw.starts_with(kCache) ? PathParts(raw.substr(kCache.size() + 1)) : std::nullopt;
  if (!parts || parts->size() < 2)
    return Error(400,
                 "the address of a row is /api/v1/cache/ENTITY/KEY, each part percent-encoded");
  const std::string entity = std::move(parts->front());
  parts->erase(parts->begin());
  CachedRow row = endpoints_.cached_row(entity, *parts);

  Response response;
  if (row.status != 200) {
    response = Error(row.status, row.text);
    if (row.status == 503) response.headers.emplace_back("Retry-After", "1");
  } else {
    const std::string tag = EntityTag(row.text);
    response.content_type = "application/json";
    response.headers.emplace_back("ETag", tag);
    if (Matches(request.if_none_match, tag)) {
      response.status = 304;
    } else {
      response.body = std::move(row.text);
    }
  }
  if (!row.source.empty()) response.headers.emplace_back("X-Cache", row.source);
  return response;
}

Response Router::ChangeSaga(const Request& request, const std::string& saga,
                            const std::string& action) {
  if (token_.empty()) {
    return Error(403,
                 "this needs a token, and none is configured: set http.token (APEX_HTTP_TOKEN)");
  }
  if (!TokenMatches(request.authorization)) return Unauthorized("this");
  if (!IsUuid(saga)) return Error(400, "a saga's id is a uuid");

  const std::lock_guard lock(database_mutex_);
  const Status done = (action == "retry" ? endpoints_.retry : endpoints_.discard)(saga);
  if (!done.ok()) return Error(StatusOf(done.error()), done.error().message);
  return Json(200, {{"saga", saga}, {"done", action}});
}

// Digests of equal length are compared in constant time, so that neither the token nor its length
// shows in the duration.
bool Router::TokenMatches(const std::string& authorization) const {
  const std::string_view given = authorization.starts_with(kBearer)
                                     ? std::string_view(authorization).substr(kBearer.size())
                                     : std::string_view();
  const auto expected = Digest(token_);
  const auto actual = Digest(given);
  return CRYPTO_memcmp(expected.data(), actual.data(), expected.size()) == 0;
}

}  // namespace apex::http
