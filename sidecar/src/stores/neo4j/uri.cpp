#include "stores/neo4j/uri.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

constexpr uint16_t kDefaultPort = 7687;

struct Scheme {
  std::string_view name;
  bool routing;
  Security security;
};

constexpr std::array kSchemes = {
    Scheme{"bolt", false, Security::kPlain},
    Scheme{"neo4j", true, Security::kPlain},
    Scheme{"bolt+s", false, Security::kTls},
    Scheme{"neo4j+s", true, Security::kTls},
    Scheme{"bolt+ssc", false, Security::kTlsUnverified},
    Scheme{"neo4j+ssc", true, Security::kTlsUnverified},
};

StoreError Invalid(std::string what) {
  return MakeError("configure", ErrorKind::kPermanent, "apex.uri", std::move(what));
}

Result<std::vector<std::pair<std::string, std::string>>> ParseQuery(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return Invalid("expected name=value after '?'");
    pairs.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
  return pairs;
}

}  // namespace

Result<Address> ParseAddress(std::string_view text) {
  Address address{.host = "", .port = kDefaultPort};
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return Invalid("a '[' without ']'");
    address.host = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (!port.empty() && port.front() != ':') return Invalid("expected ':' and a port after ']'");
  } else {
    const size_t colon = text.find(':');
    address.host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon);
  }
  if (address.host.empty()) return Invalid("the host is missing");
  if (!port.empty()) {
    port.remove_prefix(1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (error != std::errc() || end != port.data() + port.size() || address.port == 0) {
      return Invalid("the port must be a number from 1 to 65535");
    }
  }
  return address;
}

Result<Uri> ParseUri(std::string_view text) {
  const size_t separator = text.find("://");
  const std::string_view name =
      separator == std::string_view::npos ? text : text.substr(0, separator);
  const auto* scheme = std::ranges::find(kSchemes, name, &Scheme::name);
  if (separator == std::string_view::npos || scheme == kSchemes.end()) {
    return Invalid(
        "expected bolt://, bolt+s://, bolt+ssc://, neo4j://, neo4j+s:// or neo4j+ssc://, a host "
        "and a port");
  }
  Uri uri{.address = {},
          .security = scheme->security,
          .routing = scheme->routing,
          .routing_context = {}};

  std::string_view rest = text.substr(separator + 3);
  if (const size_t question = rest.find('?'); question != std::string_view::npos) {
    if (!uri.routing) return Invalid("only a neo4j:// URI can have a routing context after '?'");
    auto context = ParseQuery(rest.substr(question + 1));
    if (!context.ok()) return context.error();
    uri.routing_context = *std::move(context);
    rest = rest.substr(0, question);
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find('@') != std::string_view::npos)
    return Invalid("user and password do not belong in the URI");
  if (rest.find('/') != std::string_view::npos)
    return Invalid("the database's name does not belong in the URI");
  Result<Address> address = ParseAddress(rest);
  if (!address.ok()) return address.error();
  uri.address = *std::move(address);
  return uri;
}

}  // namespace apex::neo4j
