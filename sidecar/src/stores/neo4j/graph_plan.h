// From rows to statements: how one mapping is written, and the transaction that a set of rows
// becomes.
//
// A GraphPlan is immutable. A TransactionBuilder is filled by one thread and used once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/change.h"
#include "core/result.h"
#include "stores/neo4j/bolt_connection.h"
#include "stores/neo4j/cypher.h"
#include "stores/neo4j/image.h"

namespace apex::neo4j {

/// Rows of one statement; more are sent as a second one.
inline constexpr size_t kStatementRowsMax = 1000;
/// A statement is closed when its rows pass this size.
inline constexpr size_t kStatementBytesMax = 4 << 20;
/// Rows of one transaction together; more is refused as kTooLarge.
inline constexpr size_t kTransactionBytesMax = 128 << 20;

/// A column that becomes a property, and its place among the wanted columns.
struct Property {
  std::string name;
  size_t column = 0;
};

struct RelationPlan {
  std::string prune;                              ///< Of a row that is gone.
  std::string relate;                             ///< Of one that is there.
  std::vector<std::vector<size_t>> foreign_keys;  ///< Places among the wanted columns.
};

struct NodePlan {
  std::string upsert;
  std::string clear;
  std::string erase;
  std::vector<RelationPlan> relations;
};

struct EdgePlan {
  std::string unlink;
  std::string put;
  std::vector<size_t> from;
  std::vector<size_t> to;
};

struct GraphPlan {
  MappingPtr mapping;
  std::vector<Column> key;     ///< As the key's values are written.
  std::vector<Column> wanted;  ///< Columns of the image that the graph needs, and no others.
  std::vector<Property> properties;
  std::string truncate;
  std::optional<NodePlan> node;
  std::optional<EdgePlan> edge;
};

/// The encoded keys of the distinct nodes that a row's foreign keys point at.
std::vector<std::string> Targets(const RelationPlan& relation, const EncodedImage* image);

/// nullptr when the mapping has no graph part.
std::unique_ptr<const GraphPlan> MakePlan(MappingPtr mapping);

/// What a row shall become where the store holds a version above `above`, up to `upto`, or none.
struct RowTask {
  const GraphPlan* plan = nullptr;
  const RowId* row = nullptr;
  std::optional<std::string_view> image;  ///< nullopt: the row is gone.
  int64_t above = 0;
  int64_t upto = 0;
  int64_t version = 0;
};

/// Turns tasks into statements in the order that is safe: nodes, their relationships, join rows,
/// and at last the nodes that have to go, so that each delete sees every relationship that still
/// needs its node.
class TransactionBuilder {
 public:
  explicit TransactionBuilder(ImageEncoder& encoder) : encoder_(encoder) {}

  /// The error is permanent: a value Neo4j cannot hold, or too much for one transaction.
  Status Add(const RowTask& task);
  /// Appends the statements.
  void Finish(std::vector<Statement>& statements);

 private:
  enum class Phase { kNodes, kPrune, kRelate, kUnlink, kEdges, kErase };

  /// One statement's rows, in as many parts as its bounds ask for.
  struct Rows {
    struct Part {
      std::string bytes;
      size_t count = 0;
    };
    std::vector<Part> parts;
  };

  void AddNode(const RowTask& task, const EncodedImage& key, const EncodedImage* image);
  void AddEdge(const RowTask& task, const EncodedImage& key, const EncodedImage* image);
  /// Where the next row of this statement is written.
  std::string& NextRow(Phase phase, const std::string& cypher);

  ImageEncoder& encoder_;
  std::map<std::pair<Phase, const std::string*>, Rows> rows_;
  std::vector<std::pair<Phase, const std::string*>>
      order_;  ///< As first seen: the caller's order of tables is kept.
  size_t bytes_ = 0;
};

/// Encodes the parameters of a plan's `truncate`.
std::string TruncateParameters(int64_t below_seq, int64_t limit);

/// Encodes the parameters of the pipeline's own statements.
std::string PipelineParameters(std::string_view name,
                               std::initializer_list<std::pair<std::string_view, int64_t>> numbers);

}  // namespace apex::neo4j
