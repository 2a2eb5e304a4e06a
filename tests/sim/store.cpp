#include "store.h"

#include <algorithm>

namespace apex::sim {

SimStore::SimStore(Store store, const SimOptions& options, const SimPostgres& postgres, Dice& dice,
                   Violations& violations)
    : store_(store), options_(options), postgres_(postgres), dice_(dice), violations_(violations) {}

const SimStore::Held* SimStore::Find(const RowId& row) const {
  auto at = rows_.find(row);
  return at == rows_.end() ? nullptr : &at->second;
}

StoreError SimStore::Error(ErrorKind kind, std::string_view code) const {
  return {store_, "request", kind, std::string(code), "simulated", std::nullopt};
}

Status SimStore::Execute(const Request& request, int64_t epoch, Fate fate, bool late) {
  if (fate == Fate::kUnavailable) return Error(ErrorKind::kTransient, "sim.unavailable");
  if (fate == Fate::kLost) return Error(ErrorKind::kUnknownOutcome, "sim.timeout");
  if (transactional() && epoch < fence_) return Error(ErrorKind::kPermanent, kFenced);
  if (fate == Fate::kRefused) return Error(ErrorKind::kPermanent, "sim.read_only");

  Status answer;
  if (const auto* evict = std::get_if<saga::Evict>(&request)) {
    for (const RowWrite& row : *evict->rows) rows_.erase(row.newest->row);
  } else if (const auto* write = std::get_if<saga::Write>(&request)) {
    const auto cut =
        fate == Fate::kCutShort ? dice_.Between(0, static_cast<int64_t>(write->rows->size())) : -1;
    answer = WriteRows(*write->rows, static_cast<size_t>(cut), late);
  } else if (const auto* undo = std::get_if<saga::Undo>(&request)) {
    const auto cut =
        fate == Fate::kCutShort ? dice_.Between(0, static_cast<int64_t>(undo->rows->size())) : -1;
    answer = UndoRows(*undo->rows, static_cast<size_t>(cut), late);
  }
  if (fate == Fate::kAnswerLost || fate == Fate::kCutShort)
    return Error(ErrorKind::kUnknownOutcome, "sim.timeout");
  return answer;
}

Status SimStore::WriteRows(const std::vector<RowWrite>& rows, size_t rows_max, bool late) {
  const auto refused = std::find_if(rows.begin(), rows.end(), [this](const RowWrite& row) {
    return Names(*row.newest->mapping, store_) && row.newest->after &&
           RefusedBy(*row.newest->after, store_);
  });
  const auto refused_at = static_cast<size_t>(refused - rows.begin());
  const size_t applied = std::min({rows.size(), rows_max, refused_at});
  if (transactional() && applied < rows.size()) {
    return refused == rows.end() ? Status() : Error(ErrorKind::kPermanent, "sim.refused");
  }
  for (size_t i = 0; i < applied; ++i) Apply(rows[i], late);
  return refused == rows.end() ? Status() : Error(ErrorKind::kPermanent, "sim.refused");
}

Status SimStore::UndoRows(const std::vector<RowUndo>& rows, size_t rows_max, bool late) {
  const auto refused = std::find_if(rows.begin(), rows.end(), [this](const RowUndo& undo) {
    return Names(*undo.mapping, store_) && undo.accepted && UndoRefusedBy(*undo.accepted, store_);
  });
  const size_t applied =
      std::min({rows.size(), rows_max, static_cast<size_t>(refused - rows.begin())});
  if (!transactional() || applied == rows.size()) {
    for (size_t i = 0; i < applied; ++i) Apply(rows[i], late);
  }
  return refused == rows.end() ? Status() : Error(ErrorKind::kPermanent, "sim.refused");
}

void SimStore::Apply(const RowWrite& row, bool late) {
  const RowId& id = row.newest->row;
  if (!Names(*row.newest->mapping, store_)) return;
  const std::optional<std::string> image = HeldBy(store_, row.newest->after);
  const Held* held = Find(id);
  if (remembering_ && !late && !image) remembered_.emplace_back(row);
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

void SimStore::Apply(const RowUndo& undo, bool late) {
  if (!Names(*undo.mapping, store_)) return;
  if (remembering_ && !late) remembered_.emplace_back(undo);
  const std::optional<std::string> accepted = HeldBy(store_, undo.accepted);
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

void SimStore::TakenOver(int64_t epoch) {
  fence_ = epoch;
  remembering_ = !transactional();
  remembered_.clear();
}

void SimStore::RepeatDeletions() {
  remembering_ = false;
  for (const Repeatable& each : remembered_) {
    std::visit([this](const auto& row) { Apply(row, true); }, each);
  }
  remembered_.clear();
}

void SimStore::Report(const std::string& what, const RowId& row) {
  violations_.Add("G2: " + std::string(Name(store_)) + ", row " + Text(row) + ": " + what);
}

}  // namespace apex::sim
