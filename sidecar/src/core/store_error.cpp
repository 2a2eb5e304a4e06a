#include "core/store_error.h"

namespace apex {

std::string_view Name(Store store) {
  switch (store) {
    case Store::kPostgres: return "postgres";
    case Store::kNeo4j: return "neo4j";
    case Store::kQdrant: return "qdrant";
    case Store::kRedis: return "redis";
  }
  return "unknown";
}

std::string_view StepName(Store store) {
  switch (store) {
    case Store::kPostgres: return "write_postgres";
    case Store::kNeo4j: return "write_neo4j";
    case Store::kQdrant: return "write_qdrant";
    case Store::kRedis: return "write_redis";
  }
  return "unknown";
}

std::string_view Name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kTransient: return "transient";
    case ErrorKind::kPermanent: return "permanent";
    case ErrorKind::kUnknownOutcome: return "unknown_outcome";
  }
  return "unknown";
}

std::string Describe(const StoreError& error) {
  std::string text{Name(error.store)};
  text.append(" ").append(error.operation);
  if (!error.native_code.empty()) text.append(": ").append(error.native_code);
  if (!error.message.empty()) text.append(": ").append(error.message);
  return text;
}

}  // namespace apex
