#include "stores/postgres/changes.h"

#include <memory>
#include <utility>

namespace apex::postgres {
namespace {

/// Positions in kChangeColumns.
enum ChangeColumn {
  kSeq,
  kXid,
  kCommand,
  kOp,
  kMapping,
  kRelation,
  kKey,
  kAggregateRelation,
  kAggregateKey,
  kBefore,
  kAfter,
  kEmbedding,
  kOldEmbedding,
  kError,
  kTraceparent,
  kCapturedAt,
  kThroughSeq,
  kBatchEnd,
};

}  // namespace

int32_t FindUnknownMapping(const Rows& rows, const Mappings& mappings) {
  for (int row = 0; row < rows.size(); ++row) {
    const auto id = static_cast<int32_t>(rows.Int(row, kMapping));
    if (!mappings.contains(id)) return id;
  }
  return 0;
}

PieceChanges ParseChanges(const Rows& rows, const Mappings& mappings) {
  PieceChanges read;
  if (rows.size() > 0) {
    read.through_seq = rows.Int(0, kThroughSeq);
    read.batch_end = rows.Bool(0, kBatchEnd);
  }
  read.changes.reserve(static_cast<size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row) {
    auto change = std::make_shared<Change>();
    change->seq = rows.Int(row, kSeq);
    change->xid = static_cast<uint64_t>(rows.Int(row, kXid));
    change->command = static_cast<int32_t>(rows.Int(row, kCommand));
    change->op = static_cast<Operation>(rows.Bytes(row, kOp).front());
    change->mapping = mappings.at(static_cast<int32_t>(rows.Int(row, kMapping)));
    change->row = {rows.Oid(row, kRelation), CompactJson(rows.Bytes(row, kKey))};
    change->aggregate =
        rows.IsNull(row, kAggregateRelation)
            ? change->row
            : RowId{rows.Oid(row, kAggregateRelation), CompactJson(rows.Bytes(row, kAggregateKey))};
    change->before = rows.TextIfAny(row, kBefore);
    change->after = rows.TextIfAny(row, kAfter);
    change->embedding = rows.TextIfAny(row, kEmbedding);
    change->old_embedding = rows.TextIfAny(row, kOldEmbedding);
    change->capture_error = rows.Text(row, kError);
    change->traceparent = rows.Text(row, kTraceparent);
    change->captured_at_us = rows.UnixMicros(row, kCapturedAt);
    read.changes.push_back(std::move(change));
  }
  return read;
}

std::string CompactJson(std::string_view json) {
  if (json.find(' ') == std::string_view::npos) return std::string(json);
  std::string compact;
  compact.reserve(json.size());
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == ' ' && !quoted) continue;
    compact.push_back(c);
    if (c == '"') quoted = !quoted;
    // The escaped character may be a quote.
    if (c == '\\' && i + 1 < json.size()) compact.push_back(json[++i]);
  }
  return compact;
}

}  // namespace apex::postgres
