// Reads the points of a collection for `apex verify`. What is expected of a row is taken from the
// operation that would write it.
//
// Used by one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/stored_row.h"
#include "stores/qdrant/client.h"
#include "stores/qdrant/encode.h"

namespace apex::qdrant {

class QdrantReader : public StoreReader {
 public:
  explicit QdrantReader(ClientOptions options) : client_(std::move(options)) {}

  Store store() const override { return Store::kQdrant; }
  bool Holds(const TableMapping& mapping) const override { return mapping.vector.has_value(); }
  Result<std::optional<StoredRow>> Expected(const ChangePtr& row) override;
  Status ReadAll(const MappingPtr& mapping, const Page& page) override;
  Result<std::vector<StoredRow>> ReadThese(const MappingPtr& mapping,
                                           std::span<const StoredRow> rows) override;

 private:
  Client client_;
  PointEncoder encoder_;
};

/// A point as it was written or read. Pure; the other parts of a row's payload are other writers'.
StoredRow DescribePoint(const TableMapping& mapping, const ::qdrant::PointId& id,
                        const google::protobuf::Map<std::string, ::qdrant::Value>& payload,
                        const google::protobuf::RepeatedField<float>& vector);

}  // namespace apex::qdrant
