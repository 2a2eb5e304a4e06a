// What each address answers, without a socket.
//
// Thread-safe. `status`, `retry` and `discard` are called one at a time, since each needs a
// database session of its own; `metrics` and `not_ready` may be called from several threads at
// once.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"

namespace apex::http {

struct Request {
  std::string method;
  std::string path;
  std::string raw_path;       ///< As the client wrote it, percent signs and all, without query.
  std::string authorization;  ///< The header's value, empty when absent.
  std::string if_none_match;  ///< The same.
};

struct Response {
  int status = 200;
  std::string content_type;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// What the cache has for one row's address.
struct CachedRow {
  int status = 200;
  std::string source;  ///< For X-Cache; empty: no header.
  std::string text;    ///< The row as JSON, or what is wrong in plain words.
};

/// Where the answers come from. What throws becomes a 500.
struct Endpoints {
  std::function<std::string()> metrics;                 ///< Prometheus text format.
  std::function<std::vector<std::string>()> not_ready;  ///< Plain words; empty: ready.

  /// A JSON object. The console shows these members, where present: `role`, `epoch`, `stores`
  /// ({"neo4j": {"up": true, "last_error": ""}}), `pipelines` (apex.status()'s), `failed_sagas`
  /// (rows of apex.failed_sagas) and `error` (why PostgreSQL could not be asked for these two).
  std::function<Result<std::string>()> status;

  /// A permanent error is the caller's: 404 for SQLSTATE P0002, 409 for any other. Else the
  /// database is at fault: 503.
  std::function<Status(const std::string& saga)> retry;
  std::function<Status(const std::string& saga)> discard;

  /// A row by its entity and its key's columns, and a JSON object of the cache's figures. Both are
  /// empty without a cache; both may be called from several threads at once.
  std::function<CachedRow(const std::string& entity, const std::vector<std::string>& key)>
      cached_row;
  std::function<Result<std::string>()> cache;
};

class Router {
 public:
  /// `token` empty: calls that change something are refused, and rows are open to everybody.
  Router(std::string token, Endpoints endpoints);

  Response Handle(const Request& request);

 private:
  Response Dispatch(const Request& request);
  Response Readiness() const;
  Response ReportStatus();
  Response ReportCache();
  Response ReportCachedRow(const Request& request);
  Response ChangeSaga(const Request& request, const std::string& saga, const std::string& action);
  bool TokenMatches(const std::string& authorization) const;

  const std::string token_;
  const Endpoints endpoints_;
  std::mutex database_mutex_;
};

}  // namespace apex::http
