#include "stores/postgres/classifier.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace apex::postgres {
namespace {

constexpr std::string_view kConnectionFailure = "08006";
/// Raised by the extension's functions when the epoch is no longer the pipeline's.
constexpr std::string_view kNotLeading = "AX001";

/// The longest prefix that matches decides; what matches none is permanent, since the server
/// refused the statement and rolled it back.
constexpr std::array<std::pair<std::string_view, ErrorKind>, 22> kKinds = {{
    {"", ErrorKind::kPermanent},
    {"08", ErrorKind::kUnknownOutcome},     // connection_exception; 08007 is an unknown transaction
                                            // outcome by name
    {"08001", ErrorKind::kTransient},       // could not connect
    {"08004", ErrorKind::kTransient},       // the server rejected the connection
    {"08P01", ErrorKind::kPermanent},       // protocol_violation
    {"25006", ErrorKind::kTransient},       // read only: a standby, or a failover is under way
    {"40", ErrorKind::kTransient},          // transaction_rollback: serialization, deadlock
    {"40003", ErrorKind::kUnknownOutcome},  // statement_completion_unknown
    {"53", ErrorKind::kTransient},          // insufficient_resources: disk, memory, connections
    {"55006", ErrorKind::kTransient},       // object_in_use
    {"55P03", ErrorKind::kTransient},       // lock_not_available
    {"57014", ErrorKind::kTransient},       // query_canceled
    // Shutdowns can end a session that has committed and only waits for a synchronous standby.
    {"57P01", ErrorKind::kUnknownOutcome},
    {"57P02", ErrorKind::kUnknownOutcome},
    {"57P03", ErrorKind::kTransient},       // cannot_connect_now: starting or stopping
    {"57P04", ErrorKind::kPermanent},       // database_dropped
    {"57P05", ErrorKind::kUnknownOutcome},  // idle_session_timeout
    {"58", ErrorKind::kTransient},          // system_error: the operating system's
    {"58P01", ErrorKind::kPermanent},       // undefined_file: a library that is not installed
    {"58P02", ErrorKind::kPermanent},       // duplicate_file
    {"72000", ErrorKind::kTransient},       // snapshot_too_old
    {"XX", ErrorKind::kPermanent},          // internal_error, corruption
}};

ErrorKind KindOf(std::string_view sqlstate) {
  const auto* best = &kKinds.front();
  for (const auto& each : kKinds) {
    if (sqlstate.starts_with(each.first) && each.first.size() > best->first.size()) best = &each;
  }
  return best->second;
}

/// Where a SQLSTATE stands in "FATAL:  28P01: password authentication failed"; npos when there is
/// none.
size_t FindSqlstate(std::string_view message) {
  constexpr std::string_view kBefore = ":  ";
  for (size_t at = message.find(kBefore); at != message.npos; at = message.find(kBefore, at + 1)) {
    const std::string_view code = message.substr(at + kBefore.size(), 5);
    const bool looks_right =
        code.size() == 5 && message.substr(at + kBefore.size() + 5, 2) == ": " &&
        std::all_of(code.begin(), code.end(),
                    [](unsigned char c) { return std::isdigit(c) != 0 || std::isupper(c) != 0; });
    if (looks_right) return at + kBefore.size();
  }
  return message.npos;
}

std::string Trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.remove_suffix(1);
  return std::string(text);
}

/// libpq writes a line for each host and a hint below it; logs and reports show one line an error.
std::string OneLine(std::string_view text) {
  std::string line;
  for (char c : Trimmed(text)) {
    if (c == '\n') {
      line += "; ";
    } else if (c != '\t') {
      line += c;
    }
  }
  return line;
}

}  // namespace

StoreError Classify(std::string operation, std::string_view sqlstate, std::string_view message) {
  StoreError error{Store::kPostgres,           std::move(operation),
                   ErrorKind::kUnknownOutcome, std::string(kConnectionFailure),
                   Trimmed(message),           std::nullopt};
  if (sqlstate.empty()) return error;
  error.kind = KindOf(sqlstate);
  error.native_code = sqlstate == kNotLeading ? kFenced : sqlstate;
  return error;
}

StoreError ClassifyConnect(std::string_view libpq_message) {
  const size_t code_at = FindSqlstate(libpq_message);
  if (code_at == libpq_message.npos) {
    return {Store::kPostgres,       "connect",   ErrorKind::kTransient, "08001",
            OneLine(libpq_message), std::nullopt};
  }
  const std::string_view code = libpq_message.substr(code_at, 5);
  std::string_view words = libpq_message.substr(code_at + 7);
  // Verbose errors end in a line about the server's source.
  words = words.substr(0, words.find("\nLOCATION:"));
  StoreError error = Classify("connect", code, std::string(words));
  if (error.kind == ErrorKind::kUnknownOutcome) error.kind = ErrorKind::kTransient;
  return error;
}

}  // namespace apex::postgres
