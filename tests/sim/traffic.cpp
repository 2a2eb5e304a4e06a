#include "traffic.h"

#include <algorithm>
#include <set>

#include "image.h"

namespace apex::sim {
namespace {

std::string Owner(const saga::Write& write) { return "batch " + std::to_string(write.batch); }
std::string Owner(const saga::Undo& undo) { return "failure " + std::to_string(undo.failure); }

}  // namespace

void Traffic::HandedOut(const Piece& piece) {
  for (const ChangePtr& change : piece.changes) {
    sagas_[{change->xid, change->aggregate}].push_back(change);
    changes_[change->seq] = change;
    if (!change->row.IsTable()) continue;
    int64_t& truncated = truncated_[change->row.relation];
    truncated = std::max(truncated, change->seq);
  }
}

void Traffic::Sent(const saga::Write& write) {
  std::set<RowId> rows;
  for (const RowWrite& row : *write.rows) {
    const RowId& id = row.newest->row;
    if (!rows.insert(id).second) violations_.Add("E1: row " + Text(id) + " is twice in one write");
    CheckAlone(id);
    Hold(id, Owner(write));
    int64_t& last = last_sent_[{write.store, id}];
    if (row.seq < last)
      violations_.Add("G4: row " + Text(id) + " was sent at " + std::to_string(row.seq) +
                      " after " + std::to_string(last));
    last = row.seq;
  }
  CheckTogether(write);
}

void Traffic::Sent(const saga::Undo& undo) {
  for (const RowUndo& row : *undo.rows) Hold(row.row, Owner(undo));
}

void Traffic::Answered(const saga::Write& write) {
  for (const RowWrite& row : *write.rows) Release(row.newest->row);
}

void Traffic::Answered(const saga::Undo& undo) {
  for (const RowUndo& row : *undo.rows) Release(row.row);
}

void Traffic::Hold(const RowId& row, const std::string& owner) {
  Holder& holder = in_flight_[row];
  if (holder.requests > 0 && holder.owner != owner) {
    violations_.Add("E1: row " + Text(row) + " is in " + holder.owner + " and in " + owner);
  }
  holder.owner = owner;
  ++holder.requests;
}

void Traffic::Release(const RowId& row) {
  auto at = in_flight_.find(row);
  if (--at->second.requests == 0) in_flight_.erase(at);
}

/// Nothing of a table is in flight while it is truncated.
void Traffic::CheckAlone(const RowId& row) {
  for (const auto& [other, holder] : in_flight_) {
    if (other.relation == row.relation && other.IsTable() != row.IsTable())
      violations_.Add("E9: " + Text(row) + " is sent while " + Text(other) + " is in flight");
  }
}

void Traffic::Blamed(const FailureRecord& record) {
  if (record.error_type == "gave_up") return;
  std::map<RowId, std::vector<ChangePtr>> rows;
  for (int64_t seq : record.events) rows[changes_.at(seq)->row].push_back(changes_.at(seq));
  for (const auto& [row, changes] : rows) {
    ChangePtr newest = changes.back();
    for (const ChangePtr& change : changes) {
      if (change->seq > newest->seq) newest = change;
    }
    for (const ChangePtr& change : changes) {
      if (change->xid == newest->xid && change->command > newest->command) newest = change;
    }
    if (!newest->capture_error.empty()) return;
    for (Store store : kTargets) {
      if (newest->after && Names(*newest->mapping, store) && RefusedBy(*newest->after, store))
        return;
    }
  }
  violations_.Add("E4: saga " + record.id + " is blamed by " + record.failed_step +
                  " and none of its rows is at fault");
}

/// What one transaction did to an aggregate goes to a store in one write.
void Traffic::CheckTogether(const saga::Write& write) {
  std::set<int64_t> sent;
  std::set<std::pair<uint64_t, RowId>> sagas;
  for (const RowWrite& row : *write.rows) {
    for (const ChangePtr& change : row.changes) {
      sent.insert(change->seq);
      sagas.emplace(change->xid, change->aggregate);
    }
  }
  for (const auto& saga : sagas) {
    for (const ChangePtr& change : sagas_.at(saga)) {
      const auto truncated = truncated_.find(change->row.relation);
      const bool is_void = truncated != truncated_.end() && change->seq < truncated->second;
      if (!is_void && !sent.contains(change->seq)) {
        violations_.Add("G4: a write to " + std::string(Name(write.store)) + " leaves out change " +
                        std::to_string(change->seq) + " of its saga");
      }
    }
  }
}

}  // namespace apex::sim
