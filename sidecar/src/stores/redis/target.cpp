#include "stores/redis/target.h"

#include <charconv>

#include "core/uri.h"

namespace apex::redis {
namespace {

constexpr uint16_t kServerPort = 6379;
constexpr uint16_t kSentinelPort = 26379;

std::optional<Target> TargetOfScheme(std::string_view scheme) {
  Target target;
  if (scheme.starts_with("rediss")) {
    target.tls.emplace();
    scheme.remove_prefix(6);
  } else if (scheme.starts_with("redis")) {
    scheme.remove_prefix(5);
  } else {
    return std::nullopt;
  }
  if (scheme == "+cluster") {
    target.kind = Target::Kind::kCluster;
  } else if (scheme == "+sentinel") {
    target.kind = Target::Kind::kSentinel;
  } else if (!scheme.empty()) {
    return std::nullopt;
  }
  return target;
}

/// "/5", "/" or nothing.
bool ReadDatabase(std::string_view path, int& database) {
  if (path.empty() || path == "/") return true;
  const char* const end = path.data() + path.size();
  const auto [at, error] = std::from_chars(path.data() + 1, end, database);
  return error == std::errc() && at == end && database >= 0;
}

bool ReadPath(std::string_view path, Target& target) {
  switch (target.kind) {
    case Target::Kind::kServer: return ReadDatabase(path, target.database);
    case Target::Kind::kCluster: return path.empty() || path == "/";
    case Target::Kind::kSentinel: break;
  }
  if (path.size() < 2) return false;
  path.remove_prefix(1);
  const size_t slash = std::min(path.find('/'), path.size());
  target.service = path.substr(0, slash);
  return !target.service.empty() && ReadDatabase(path.substr(slash), target.database);
}

}  // namespace

std::optional<Target> ParseTarget(const RedisOptions& options) {
  const std::optional<UriOfHosts> uri = ParseUriOfHosts(options.uri);
  if (!uri) return std::nullopt;
  std::optional<Target> target = TargetOfScheme(uri->scheme);
  if (!target || !ReadPath(uri->path, *target)) return std::nullopt;
  if (target->kind == Target::Kind::kServer && uri->hosts.size() > 1) return std::nullopt;
  const uint16_t port = target->kind == Target::Kind::kSentinel ? kSentinelPort : kServerPort;
  for (const HostPort& host : uri->hosts) {
    if (host.port == 0) return std::nullopt;
    target->addresses.push_back({host.host, host.port.value_or(port)});
  }
  target->user = uri->user.value_or("");
  target->password = options.password.empty() ? uri->password.value_or("") : options.password;
  target->sentinel_password = options.sentinel_password;
  if (target->tls) {
    target->tls->ca_file = options.tls_ca_file;
    target->tls->cert_file = options.tls_cert_file;
    target->tls->key_file = options.tls_key_file;
  }
  return target;
}

}  // namespace apex::redis
