// Reads the graph for `apex verify`: the nodes of a label with the relationships that their rows
// own, or the relationships of a join table.
//
// Used by one thread; owns its connection. What is expected of a row is encoded by what writes it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/stored_row.h"
#include "stores/neo4j/graph_plan.h"
#include "stores/neo4j/neo4j_store.h"
#include "stores/neo4j/router.h"

namespace apex::neo4j {

class Neo4jReader : public StoreReader {
 public:
  explicit Neo4jReader(Options options);

  Store store() const override { return Store::kNeo4j; }
  bool Holds(const TableMapping& mapping) const override { return mapping.node || mapping.edge; }
  Result<std::optional<StoredRow>> Expected(const ChangePtr& row) override;
  Status ReadAll(const MappingPtr& mapping, const Page& page) override;
  Result<std::vector<StoredRow>> ReadThese(const MappingPtr& mapping,
                                           std::span<const StoredRow> rows) override;
  Result<std::vector<std::string>> ReadStubs(const MappingPtr& mapping, size_t count_max) override;

 private:
  /// How a mapping is read, beside how it is written.
  struct View {
    std::unique_ptr<const GraphPlan> plan;
    std::vector<std::string> relations;  ///< Names of the fields, in the order of the plan's.
    std::string read_all;
    std::string read_these;
  };

  Result<const View*> ViewOf(const MappingPtr& mapping);
  Status Connect();
  Status Stream(const std::string& cypher, std::string parameters, const Page& page,
                const View& view);

  std::string database_;
  std::optional<StoreError> configuration_error_;
  std::optional<Router> router_;
  std::unique_ptr<BoltConnection> connection_;
  ImageEncoder encoder_;
  std::unordered_map<const TableMapping*, View> views_;  ///< The plan keeps the mapping alive.
};

}  // namespace apex::neo4j
