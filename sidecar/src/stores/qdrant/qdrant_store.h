// Qdrant as a target: one collection a table, one point a row, fenced by the point's own version.
//
// Conforms to TargetStore: used by one thread, keeps no rows between calls. Qdrant has no
// transactions, so the pipeline's epoch is not written there: a late leader is harmless because
// each write applies only over a lower `_apex_seq`.
//
// Of a row that was updated and whose vector the store is known to hold already, the payload alone
// is sent (rule E3). Such an operation applies to the version that holds that vector and to no
// other, says Completed of nothing as of something, and so is looked at afterwards: what it did not
// reach goes out whole.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/target_store.h"
#include "stores/qdrant/client.h"
#include "stores/qdrant/encode.h"
#include "stores/qdrant/vector_memory.h"

namespace apex::qdrant {

using QdrantOptions = ClientOptions;

class QdrantStore : public TargetStore {
 public:
  explicit QdrantStore(QdrantOptions options);

  Store store() const override { return Store::kQdrant; }

  /// Creates missing collections and the index on `_apex_seq`. Permanent: a server too old for
  /// conditional updates ("apex.version"), a collection of another dimension or distance, or
  /// without the vector of this name ("apex.collection").
  Status Prepare(const Fence& fence, std::span<const MappingPtr> mappings,
                 Deadline deadline) override;
  Status Examine(std::span<const MappingPtr> mappings, Deadline deadline) override;
  Status Write(const Fence& fence, std::span<const RowWrite> rows, Deadline deadline) override;
  /// Points without a version are somebody else's and stay.
  Result<bool> Truncate(const Fence& fence, const Change& truncation, Deadline deadline) override;
  Status Undo(const Fence& fence, std::span<const RowUndo> rows, Deadline deadline) override;
  Status Ping(Deadline deadline) override;

 private:
  /// Checks the server and every collection that is there; `prepare` makes what is missing.
  Status Check(std::span<const MappingPtr> mappings, bool prepare, Deadline deadline);
  Status PrepareCollection(const TableMapping& mapping, bool is_missing, Deadline deadline);
  /// The version to replace the payload of; nullopt: the row has to go whole.
  std::optional<int64_t> HeldVersion(const RowWrite& row) const;
  /// Those of `rows`, ordered by collection, that the store holds at an older version or not at
  /// all.
  Result<std::vector<RowWrite>> NotReached(std::span<const RowWrite* const> rows,
                                           Deadline deadline);

  Client client_;
  PointEncoder encoder_;
  VectorMemory memory_;
};

}  // namespace apex::qdrant
