// The graph: nodes and relationships of attached rows in Neo4j.
//
// One call is one transaction, which first write-locks the pipeline's node and fails when the epoch
// is not ours: a stale leader cannot write at all, and what is written and the position beside it
// stand or fall together. See cypher.h for what the statements do and target_store.h for what each
// call promises.
//
// Used by one thread; owns its connection.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/target_store.h"
#include "stores/neo4j/graph_plan.h"
#include "stores/neo4j/router.h"

namespace apex::neo4j {

struct Options {
  std::string uri;  ///< See uri.h; one that cannot be read fails every call as permanent.
  std::string user;
  std::string password;  ///< Empty: no authentication.
  std::string database = "neo4j";
};

class Neo4jStore : public TargetStore {
 public:
  explicit Neo4jStore(Options options);

  Store store() const override { return Store::kNeo4j; }
  Status Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                 Deadline deadline) override;
  Status Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) override;
  Result<bool> Truncate(const Fence& fence, const Change& truncation, Deadline deadline) override;
  Status Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) override;
  Status Ping(Deadline deadline) override;

 private:
  Result<BoltConnection*> Connected(Deadline deadline);
  /// Drops a connection that is broken or leads to a server that will not do.
  void Settle(const StoreError* error);
  /// Called before tasks point at plans.
  void ForgetOldPlans();
  /// nullptr when the mapping has no graph part.
  const GraphPlan* PlanOf(const MappingPtr& mapping);
  /// Sorts, encodes and writes the tasks behind the fence.
  Status Apply(const Fence& fence, std::vector<RowTask> tasks, int64_t position,
               std::string_view operation, Deadline deadline);
  /// Runs the statements, the second of which guards epoch and claim; deadlocks are tried again.
  /// Returns what the last one counted.
  Result<int64_t> RunFenced(std::span<const Statement> statements, std::string_view operation,
                            Deadline deadline);
  Status MakeSchema(std::string_view statement, Deadline deadline);
  Status RunAlone(std::string_view cypher, std::string_view operation, Deadline deadline);

  std::string database_;
  std::optional<StoreError> configuration_error_;
  std::optional<Router> router_;
  std::unique_ptr<BoltConnection> connection_;
  ImageEncoder encoder_;
  std::unordered_map<const TableMapping*, std::unique_ptr<const GraphPlan>> plans_;
  std::mt19937_64 random_{std::random_device{}()};
  int64_t claim_ = 0;  ///< Of the last Prepare; what is written names it. 0: there was none.
};

}  // namespace apex::neo4j
