// Qdrant as a target: one collection a table, one point a row, fenced by the point's own version.
//
// Conforms to TargetStore: used by one thread, keeps no rows between calls. Qdrant has no
// transactions, so the pipeline's epoch is not written there: a late leader is harmless because
// each write applies only over a lower `_apex_seq`.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "core/target_store.h"
#include "stores/qdrant/client.h"
#include "stores/qdrant/encode.h"

namespace apex::qdrant {

using QdrantOptions = ClientOptions;

class QdrantStore : public TargetStore {
 public:
  explicit QdrantStore(QdrantOptions options);

  Store store() const override { return Store::kQdrant; }

  /// Creates missing collections and the index on `_apex_seq`. Permanent: a server too old for
  /// conditional updates
  /// ("apex.version"), a collection of another dimension, distance or with named vectors
  /// ("apex.collection").
  Status Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                 Deadline deadline) override;
  Status Examine(std::span<const MappingPtr> mappings, Deadline deadline) override;
  Status Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) override;
  Status Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) override;
  Status Ping(Deadline deadline) override;

 private:
  /// Checks the server and every collection that is there; `prepare` makes what is missing.
  Status Check(std::span<const MappingPtr> mappings, bool prepare, Deadline deadline);
  Status PrepareCollection(const TableMapping& mapping, bool is_missing, Deadline deadline);

  Client client_;
  PointEncoder encoder_;
};

}  // namespace apex::qdrant
