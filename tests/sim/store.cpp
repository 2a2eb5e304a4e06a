#include "store.h"

#include <algorithm>

namespace apex::sim {

SimStore::SimStore(Store store, const SimOptions& options, const SimPostgres& postgres, Dice& dice,
                   SimCounts& counts, Violations& violations)
    : store_(store),
      options_(options),
      postgres_(postgres),
      dice_(dice),
      counts_(counts),
      violations_(violations) {}

const SimStore::Held* SimStore::Find(const RowId& row) const {
  auto at = rows_.find(row);
  return at == rows_.end() ? nullptr : &at->second;
}

StoreError SimStore::Error(ErrorKind kind, std::string_view code) const {
  return {store_, "request", kind, std::string(code), "simulated", std::nullopt};
}

Status SimStore::Execute(const Request& request, Turn turn, Fate fate, bool late) {
  if (fate == Fate::kUnavailable) return Error(ErrorKind::kTransient, "sim.unavailable");
  if (fate == Fate::kLost || fate == Fate::kLate)
    return Error(ErrorKind::kUnknownOutcome, "sim.timeout");
  if (Fences(turn)) return Error(ErrorKind::kPermanent, kFenced);
  fence_ = std::max(fence_, turn);
  if (fate == Fate::kRefused) return Error(ErrorKind::kPermanent, "sim.read_only");

  Status answer = Apply(request, fate, late);
  if (fate == Fate::kArrivesTwice && !(transactional() && Fences(turn))) {
    ++counts_.repeated_requests;
    answer = Apply(request, fate, late);
  }
  if (fate == Fate::kShort && answer.ok()) {
    ++counts_.short_answers;
    if (options_.flaw != Flaw::kAcknowledgementIsProof)
      return Error(ErrorKind::kUnknownOutcome, "sim.shortfall");
  }
  if (fate == Fate::kAnswerLost || fate == Fate::kCutShort)
    return Error(ErrorKind::kUnknownOutcome, "sim.timeout");
  return answer;
}

bool SimStore::Fences(Turn turn) const {
  if (!fenced()) return false;
  if (turn.epoch != fence_.epoch)
    return turn.epoch < fence_.epoch && options_.flaw != Flaw::kNoEpochGuard;
  return turn.number <= fence_.number && options_.flaw != Flaw::kNoTurnGuard;
}

Status SimStore::Apply(const Request& request, Fate fate, bool late) {
  if (const auto* evict = std::get_if<saga::Evict>(&request)) {
    for (const RowWrite& row : *evict->rows) {
      rows_.erase(row.newest->row);
      if (row.newest->row.IsTable()) EraseTable(row);
    }
  } else if (const auto* write = std::get_if<saga::Write>(&request)) {
    return ApplyRows(*write->rows, fate, late, [this](const RowWrite& row) {
      return Names(*row.newest->mapping, store_) && row.newest->after &&
             RefusedBy(*row.newest->after, store_);
    });
  } else if (const auto* undo = std::get_if<saga::Undo>(&request)) {
    return ApplyRows(*undo->rows, fate, late, [this](const RowUndo& row) {
      return Names(*row.mapping, store_) && row.accepted && UndoRefusedBy(*row.accepted, store_);
    });
  }
  return {};
}

/// Up to the row that is refused, or to where the request was cut; a transaction as a whole.
template <typename Row, typename Refuses>
Status SimStore::ApplyRows(const std::vector<Row>& rows, Fate fate, bool late, Refuses refuses) {
  const auto refused = std::find_if(rows.begin(), rows.end(), refuses);
  auto applied = static_cast<size_t>(refused - rows.begin());
  if (fate == Fate::kCutShort || fate == Fate::kShort) {
    const auto cut = dice_.Between(0, static_cast<int64_t>(rows.size()));
    applied = std::min(applied, static_cast<size_t>(cut));
  }
  // That an acknowledgement is short is nothing a transaction keeps from.
  if (!transactional() || applied == rows.size() || fate == Fate::kShort) {
    for (size_t i = 0; i < applied; ++i) Apply(rows[i], late);
  }
  return refused == rows.end() ? Status() : Error(ErrorKind::kPermanent, "sim.refused");
}

void SimStore::Apply(const RowWrite& row, bool late) {
  const RowId& id = row.newest->row;
  if (!Names(*row.newest->mapping, store_)) return;
  if (id.IsTable()) return Truncate(row);
  const std::optional<std::string> image = HeldBy(store_, row.newest->after);
  const Held* held = Find(id);
  if (options_.flaw == Flaw::kUpdatesAreDeltas && row.newest->op == Operation::kUpdate && !held)
    return;
  if (held && held->version > row.seq) {
    if (options_.flaw != Flaw::kNoVersionGuard || transactional()) return;
    Report(
        "version " + std::to_string(row.seq) + " was written over " + std::to_string(held->version),
        id);
  }
  if (!image) {
    rows_.erase(id);
    deleted_[id] = row.seq;
    return;
  }
  // Without a tombstone a late request brings a deleted row back; the repeated deletion ends that.
  if (!held && !late && deleted_.contains(id) && deleted_[id] > row.seq) {
    Report("version " + std::to_string(row.seq) + " brought back what " +
               std::to_string(deleted_[id]) + " deleted",
           id);
  }
  deleted_.erase(id);
  rows_[id] = {row.seq, *image};
}

void SimStore::EraseTable(const RowWrite& table) {
  std::erase_if(rows_, [&](const auto& row) {
    return row.first.relation == table.newest->row.relation &&
           (row.second.version < table.seq || options_.flaw == Flaw::kTruncationTakesNewer);
  });
}

void SimStore::Truncate(const RowWrite& table) {
  EraseTable(table);
  const RowId& id = table.newest->row;
  for (const auto& [row, truth] : postgres_.truth()) {
    if (row.relation != id.relation || Find(row)) continue;
    int64_t& deleted = deleted_[row];
    deleted = std::max(deleted, table.seq);
  }
}

void SimStore::Apply(const RowUndo& undo, bool late) {
  if (!Names(*undo.mapping, store_)) return;
  // A cache entry is not put back, it is taken away.
  const std::optional<std::string> accepted =
      store_ == Store::kRedis ? std::nullopt : HeldBy(store_, undo.accepted);
  const Held* held = Find(undo.row);
  if (held) {
    const bool exact = options_.flaw == Flaw::kUndoOfOneVersion;
    const bool came_from_the_failure =
        held->version <= undo.failed_seq &&
        held->version > (exact ? undo.failed_seq - 1 : undo.accepted_seq);
    if (!came_from_the_failure) return;
    // G2: nothing but a compensation of that very version takes a row back.
    const auto saga_row = postgres_.saga_rows().find(undo.row);
    if (!late &&
        (saga_row == postgres_.saga_rows().end() || saga_row->second.failed_seq < held->version)) {
      Report(
          "version " + std::to_string(held->version) + " was undone though its saga has not failed",
          undo.row);
    }
  } else if (!accepted) {
    return;
  }
  deleted_.erase(undo.row);
  if (accepted) {
    rows_[undo.row] = {undo.accepted_seq, *accepted};
  } else {
    rows_.erase(undo.row);
  }
}

void SimStore::Report(const std::string& what, const RowId& row) {
  violations_.Add("G2: " + std::string(Name(store_)) + ", row " + Text(row) + ": " + what);
}

}  // namespace apex::sim
