#include "stores/qdrant/qdrant_store.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "stores/qdrant/collection_check.h"
#include "stores/qdrant/point_id.h"
#include "stores/qdrant/request_batcher.h"

namespace apex::qdrant {
namespace {

/// Points asked for their version in one call.
constexpr size_t kPointsAskedMax = 1000;

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

/// Points that one call of Truncate takes away.
constexpr uint32_t kTruncatedPointsMax = 5000;

::qdrant::Filter OlderThan(int64_t seq) {
  ::qdrant::Filter older;
  auto* field = older.add_must()->mutable_field();
  field->set_key(std::string(kSeqField));
  field->mutable_range()->set_lte(static_cast<double>(seq - 1));
  return older;
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
  std::vector<const RowWrite*> partial;
  Status sent = Send(
      rows,
      [&](const RowWrite& row) {
        const std::optional<int64_t> held = HeldVersion(row);
        if (!held) return encoder_.Write(row);
        partial.push_back(&row);
        return encoder_.WritePayload(row, *held);
      },
      &client_, deadline);
  if (!sent.ok()) return sent;
  if (!partial.empty()) {
    auto missed = NotReached(partial, deadline);
    if (!missed.ok()) return missed.error();
    const auto whole = [this](const RowWrite& row) { return encoder_.Write(row); };
    sent = Send(std::span<const RowWrite>(*missed), whole, &client_, deadline);
    if (!sent.ok()) return sent;
  }
  for (const RowWrite& row : rows) {
    const Change& change = *row.newest;
    const bool has_point =
        change.mapping->vector && change.op != Operation::kDelete && change.embedding.has_value();
    if (has_point) memory_.Remember(change.row, row.seq, *change.embedding);
  }
  return {};
}

/// A refresh goes whole: it is there to mend what somebody else may have changed.
std::optional<int64_t> QdrantStore::HeldVersion(const RowWrite& row) const {
  const bool is_update = std::ranges::all_of(
      row.changes, [](const ChangePtr& change) { return change->op == Operation::kUpdate; });
  if (!is_update || row.changes.empty() || !row.newest->embedding) return std::nullopt;
  const std::optional<int64_t> held = memory_.VersionWith(row.newest->row, *row.newest->embedding);
  return held && *held < row.seq ? held : std::nullopt;
}

Result<std::vector<RowWrite>> QdrantStore::NotReached(std::span<const RowWrite* const> rows,
                                                      Deadline deadline) {
  std::vector<RowWrite> missed;
  while (!rows.empty()) {
    const std::string& collection = MappingOf(*rows.front()).vector->collection;
    ::qdrant::GetPoints request;
    request.set_collection_name(collection);
    request.mutable_with_payload()->mutable_include()->add_fields(std::string(kSeqField));
    size_t count = 0;
    for (; count < rows.size() && count < kPointsAskedMax &&
           MappingOf(*rows[count]).vector->collection == collection;
         ++count) {
      *request.add_ids() = PointIdOf(MappingOf(*rows[count]), rows[count]->newest->row);
    }
    auto response = client_.GetPoints(request, deadline);
    if (!response.ok()) return response.error();
    std::unordered_map<std::string, int64_t> held;
    for (const ::qdrant::RetrievedPoint& point : response->result()) {
      const auto seq = point.payload().find(std::string(kSeqField));
      if (seq != point.payload().end())
        held[point.id().SerializeAsString()] = seq->second.integer_value();
    }
    for (size_t i = 0; i < count; ++i) {
      const auto found = held.find(request.ids(static_cast<int>(i)).SerializeAsString());
      if (found == held.end() || found->second < rows[i]->seq) missed.push_back(*rows[i]);
    }
    rows = rows.subspan(count);
  }
  return missed;
}

Result<bool> QdrantStore::Truncate(const Fence& /*fence*/, const Change& truncation,
                                   Deadline deadline) {
  if (!truncation.mapping->vector) return true;
  const std::string& collection = truncation.mapping->vector->collection;
  ::qdrant::ScrollPoints request;
  request.set_collection_name(collection);
  request.set_limit(kTruncatedPointsMax);
  request.mutable_with_payload()->set_enable(false);
  *request.mutable_filter() = OlderThan(truncation.seq);
  auto older = client_.ScrollPoints(request, deadline);
  if (!older.ok()) return older.error();
  if (!*older) return true;

  // The last part is named by its version alone: it takes what the node that was asked lacked.
  const bool last = (*older)->result_size() < static_cast<int>(kTruncatedPointsMax);
  ::qdrant::UpdateBatchPoints removal;
  removal.set_collection_name(collection);
  removal.set_wait(true);
  auto* filter =
      removal.add_operations()->mutable_delete_points()->mutable_points()->mutable_filter();
  *filter = OlderThan(truncation.seq);
  if (!last) {
    auto* these = filter->add_must()->mutable_has_id();
    for (const auto& point : (*older)->result()) *these->add_has_id() = point.id();
  }
  std::optional<UpdateRequest> once = UpdateRequest{removal.SerializeAsString(), 1};
  Status removed = client_.UpdateAll(
      [&once]() -> Result<std::optional<UpdateRequest>> {
        return std::exchange(once, std::nullopt);
      },
      deadline);
  if (!removed.ok()) return removed.error();
  return last;
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
