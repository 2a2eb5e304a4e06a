#include "stores/qdrant/qdrant_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "stores/qdrant/collection_check.h"
#include "stores/qdrant/request_batcher.h"

namespace apex::qdrant {
namespace {

const TableMapping& MappingOf(const RowWrite& row) { return *row.newest->mapping; }
const TableMapping& MappingOf(const RowUndo& row) { return *row.mapping; }

/// The rows that have a collection, those of one collection next to each other, so that requests
/// are full.
template <typename Row>
std::vector<const Row*> ByCollection(std::span<const Row> rows) {
  std::vector<const Row*> ordered;
  ordered.reserve(rows.size());
  for (const Row& row : rows) {
    if (MappingOf(row).vector) ordered.push_back(&row);
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const Row* left, const Row* right) {
    return MappingOf(*left).vector->collection < MappingOf(*right).vector->collection;
  });
  return ordered;
}

/// Encodes while earlier requests are on their way.
template <typename Row, typename Encode>
Status Send(std::span<const Row> rows, Encode encode, Client* client, Deadline deadline) {
  const std::vector<const Row*> ordered = ByCollection(rows);
  auto next = ordered.begin();
  RequestBatcher batcher([&]() -> Result<std::optional<Addressed>> {
    if (next == ordered.end()) return std::optional<Addressed>();
    const Row& row = **next++;
    auto operation = encode(row);
    if (!operation.ok()) return operation.error();
    return std::optional(Addressed{MappingOf(row).vector->collection, *operation});
  });
  return client->UpdateAll([&batcher] { return batcher.Next(); }, deadline);
}

StoreError Gone(const std::string& collection) {
  StoreError error;
  error.store = Store::kQdrant;
  error.operation = "create collection";
  error.kind = ErrorKind::kTransient;
  error.native_code = "NOT_FOUND";
  error.message = "collection \"" + collection + "\" was deleted while it was being made";
  return error;
}

}  // namespace

QdrantStore::QdrantStore(QdrantOptions options) : client_(std::move(options)) {}

Status QdrantStore::Prepare(const Fence& /*fence*/, std::span<const MappingPtr> mappings,
                            Deadline deadline) {
  return Check(mappings, /*prepare=*/true, deadline);
}

Status QdrantStore::Examine(std::span<const MappingPtr> mappings, Deadline deadline) {
  return Check(mappings, /*prepare=*/false, deadline);
}

Status QdrantStore::Check(std::span<const MappingPtr> mappings, bool prepare, Deadline deadline) {
  auto health = client_.HealthCheck(deadline);
  if (!health.ok()) return health.error();
  if (Status version = CheckVersion(health->version()); !version.ok()) return version;
  for (const MappingPtr& mapping : mappings) {
    // An inactive mapping is kept for events captured under it; the collection belongs to the
    // active one.
    if (!mapping->vector || !mapping->active) continue;
    auto info = client_.GetCollection(mapping->vector->collection, deadline);
    if (!info.ok()) return info.error();
    if (*info) {
      if (Status fit = CheckCollection(*mapping, **info); !fit.ok()) return fit;
    }
    if (!prepare) continue;
    if (Status prepared = PrepareCollection(*mapping, !*info, deadline); !prepared.ok()) {
      return prepared;
    }
  }
  return {};
}

Status QdrantStore::PrepareCollection(const TableMapping& mapping, bool is_missing,
                                      Deadline deadline) {
  const std::string& name = mapping.vector->collection;
  if (is_missing) {
    Status created = client_.CreateCollection(CreateRequest(*mapping.vector), deadline);
    if (!created.ok()) return created;
    // Somebody else may have made it meanwhile, another way.
    auto info = client_.GetCollection(name, deadline);
    if (!info.ok()) return info.error();
    if (!*info) return Gone(name);
    if (Status fit = CheckCollection(mapping, **info); !fit.ok()) return fit;
  }
  return client_.CreateIntegerIndex(name, std::string(kSeqField), deadline);
}

Status QdrantStore::Write(const Fence& /*fence*/, std::span<const RowWrite> rows,
                          Deadline deadline) {
  return Send(
      rows, [this](const RowWrite& row) { return encoder_.Write(row); }, &client_, deadline);
}

Status QdrantStore::Undo(const Fence& /*fence*/, std::span<const RowUndo> rows, Deadline deadline) {
  return Send(
      rows, [this](const RowUndo& row) { return encoder_.Undo(row); }, &client_, deadline);
}

Status QdrantStore::Ping(Deadline deadline) {
  auto health = client_.HealthCheck(deadline);
  if (!health.ok()) return health.error();
  return {};
}

}  // namespace apex::qdrant
