// The one error value that travels between modules.
//
// A store's client maps its native codes to a kind in its own classifier; nobody else looks at
// `native_code` except to print it. Immutable after construction, safe to copy between threads.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace apex {

enum class Store { kPostgres, kNeo4j, kQdrant, kRedis };

enum class ErrorKind {
  /// The store did not apply the request and may accept it later: back off and send it again.
  kTransient,
  /// The store will refuse this request however often it is sent.
  kPermanent,
  /// The request may have been applied (timeout, lost connection): replay it, it is idempotent.
  kUnknownOutcome,
};

struct StoreError {
  Store store = Store::kPostgres;
  std::string operation;  ///< What was attempted, for instance "upsert".
  ErrorKind kind = ErrorKind::kUnknownOutcome;
  std::string native_code;  ///< SQLSTATE, Neo4j status, gRPC status name, Redis error prefix, or
                            ///< "apex.<what>".
  std::string message;      ///< The store's own words.
  std::optional<std::chrono::milliseconds> retry_after;
};

/// "postgres", "neo4j", "qdrant", "redis".
std::string_view Name(Store store);
/// "write_neo4j" and so on: a saga step's name in metrics, records and logs.
std::string_view StepName(Store store);
/// "transient", "permanent", "unknown_outcome".
std::string_view Name(ErrorKind kind);
/// "qdrant upsert: INVALID_ARGUMENT: Wrong input: Vector dimension error".
std::string Describe(const StoreError& error);

/// native_code of a value that the store cannot hold; the message names column and row. Always
/// permanent.
inline constexpr std::string_view kUnencodable = "apex.unencodable";
/// native_code of a write stopped because this process no longer leads. Never retried by the old
/// leader.
inline constexpr std::string_view kFenced = "apex.fenced";

}  // namespace apex
