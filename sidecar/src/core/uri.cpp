#include "core/uri.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace apex {
namespace {

/// nullopt when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* const digits = text.data() + i + 1;
    if (auto [end, error] = std::from_chars(digits, digits + 2, byte, 16);
        error != std::errc() || end != digits + 2) {
      return std::nullopt;
    }
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

bool IsScheme(std::string_view text) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) || c == '+' || c == '-' || c == '.';
  };
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) &&
         std::ranges::all_of(text, allowed);
}

bool IsHost(std::string_view text) {
  const auto refused = [](unsigned char c) {
    return c <= ' ' || c == 0x7f || c == '/' || c == '@' || c == '?' || c == '#';
  };
  return !text.empty() && std::ranges::none_of(text, refused);
}

bool ReadUserInfo(std::string_view text, UriOfHosts& uri) {
  const size_t colon = text.find(':');
  uri.user = PercentDecode(text.substr(0, colon));
  if (!uri.user) return false;
  if (colon == std::string_view::npos) return true;
  uri.password = PercentDecode(text.substr(colon + 1));
  return uri.password.has_value();
}

}  // namespace

std::optional<HostPort> ParseHostPort(std::string_view text) {
  HostPort parsed;
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    parsed.host = text.substr(1, close - 1);
    rest = text.substr(close + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    parsed.host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  if (!IsHost(parsed.host)) return std::nullopt;
  if (rest.empty()) return parsed;

  uint16_t port = 0;
  const char* const end = rest.data() + rest.size();
  if (rest.front() != ':') return std::nullopt;
  if (auto [at, error] = std::from_chars(rest.data() + 1, end, port);
      error != std::errc() || at != end) {
    return std::nullopt;
  }
  parsed.port = port;
  return parsed;
}

std::optional<UriOfHosts> ParseUriOfHosts(std::string_view text) {
  UriOfHosts uri;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos || !IsScheme(text.substr(0, colon))) return std::nullopt;
  std::ranges::transform(text.substr(0, colon), std::back_inserter(uri.scheme),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });

  // A password may hold '@' or '/' only percent-encoded, but the last '@' before the path is the
  // safer border.
  std::string_view rest = text.substr(colon + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  uri.path = rest.substr(slash);
  std::string_view authority = rest.substr(0, slash);
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    if (!ReadUserInfo(authority.substr(0, at), uri)) return std::nullopt;
    authority.remove_prefix(at + 1);
  }
  if (uri.path.find_first_of("?# ") != std::string::npos) return std::nullopt;

  for (;;) {
    const size_t comma = std::min(authority.find(','), authority.size());
    std::optional<HostPort> host = ParseHostPort(authority.substr(0, comma));
    if (!host) return std::nullopt;
    uri.hosts.push_back(*std::move(host));
    if (comma == authority.size()) return uri;
    authority.remove_prefix(comma + 1);
  }
}

std::optional<Uri> ParseUri(std::string_view text) {
  std::optional<UriOfHosts> uri = ParseUriOfHosts(text);
  if (!uri || uri->hosts.size() != 1) return std::nullopt;
  return Uri{.scheme = std::move(uri->scheme),
             .user = std::move(uri->user),
             .password = std::move(uri->password),
             .host = std::move(uri->hosts.front().host),
             .port = uri->hosts.front().port,
             .path = std::move(uri->path)};
}

}  // namespace apex
