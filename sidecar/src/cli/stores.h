// The configured target stores and the options that the configuration means for each part.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "config/config.h"
#include "coordinator/replica.h"
#include "core/stored_row.h"
#include "core/target_store.h"
#include "stores/postgres/admin.h"
#include "stores/redis/target.h"

namespace apex::cli {

class Stores {
 public:
  /// Connects to none of them yet. The error names the key that cannot be used.
  static std::variant<Stores, config::ConfigError> Open(const config::Config& config);

  std::map<Store, TargetStore*> targets() const;

 private:
  std::map<Store, std::unique_ptr<TargetStore>> owned_;
};

/// Readers of the configured stores, with connections of their own. Connects to none of them yet.
std::variant<std::vector<std::unique_ptr<StoreReader>>, config::ConfigError> OpenReaders(
    const config::Config& config);

/// Host name, process id and a number drawn now: differs from every other process of the pipeline.
/// In containers that share the host's name, each sidecar is process 1.
std::string LeaderName();

coordinator::ReplicaOptions ReplicaOptionsFrom(const config::Config& config);
postgres::AdminOptions AdminOptionsFrom(const config::Config& config);
redis::RedisOptions RedisOptionsFrom(const config::Redis& config);

}  // namespace apex::cli
