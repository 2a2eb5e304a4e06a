#include "verify/verifier.h"

#include <algorithm>
#include <utility>

namespace apex::verify {
namespace {

/// A row that is written at each of so many looks is left alone.
constexpr int kLooksMax = 5;
/// Rows of one look.
constexpr size_t kLookRowsMax = 200;
/// Of rows that cannot be encoded, with their reasons.
constexpr size_t kUnencodableMax = 1000;

bool IsUnencodable(const StoreError& error) { return error.native_code == kUnencodable; }

using RowsByKey = std::map<std::string, TableRow>;

RowsByKey ByKey(std::vector<TableRow> rows) {
  RowsByKey by_key;
  for (TableRow& row : rows) {
    std::string key = row.row->row.key;
    by_key.emplace(std::move(key), std::move(row));
  }
  return by_key;
}

std::string StampOf(const RowsByKey& rows, const std::string& key) {
  const auto found = rows.find(key);
  return found == rows.end() ? "" : found->second.stamp;
}

}  // namespace

bool TableReport::equal() const {
  return std::ranges::all_of(stores, [](const StoreReport& store) {
    return store.differences.empty() && store.not_looked_at == 0;
  });
}

Result<TableReport> Verifier::Verify(const MappingPtr& mapping) {
  TableReport report;
  report.mapping = mapping;
  std::vector<Side> sides;
  for (StoreReader* reader : readers_) {
    if (!reader->Holds(*mapping)) continue;
    report.stores.emplace_back().store = reader->store();
    sides.emplace_back().reader = reader;
  }
  for (size_t i = 0; i < sides.size(); ++i) sides[i].report = &report.stores[i];

  Result<int64_t> newest = rows_.NewestVersion();
  if (!newest.ok()) return newest.error();
  newest_version_ = *newest;
  if (Status status = ReadDigests(report, sides); !status.ok()) return status.error();
  Result<std::set<std::string>> parked = rows_.ReadParked(mapping);
  if (!parked.ok()) return parked.error();
  report.parked = *std::move(parked);
  for (Side& side : sides) {
    if (Status status = CompareSide(mapping, side, report); !status.ok()) return status.error();
    auto stubs = side.reader->ReadStubs(mapping, kStubsMax);
    if (!stubs.ok()) return stubs.error();
    side.report->stubs = *std::move(stubs);
  }
  return report;
}

Status Verifier::GoOn() const {
  if (stop_ == nullptr || !*stop_) return {};
  return StoreError{Store::kPostgres, "verify",  ErrorKind::kTransient,
                    "apex.stopped",   "stopped", std::nullopt};
}

Status Verifier::ReadDigests(TableReport& report, std::vector<Side>& sides) {
  Status read = rows_.ReadAll(report.mapping, [&](const std::vector<TableRow>& page) -> Status {
    if (Status status = GoOn(); !status.ok()) return status;
    for (const TableRow& source : page) {
      ++report.rows;
      std::string problem = source.row->capture_error;
      for (Side& side : sides) {
        if (!problem.empty()) break;
        Result<std::optional<StoredRow>> expected = side.reader->Expected(source.row);
        if (expected.ok()) {
          if (!*expected) continue;
          ++side.report->rows_expected;
          side.expected.Add(**expected, newest_version_);
        } else if (IsUnencodable(expected.error())) {
          problem = expected.error().message;
        } else {
          return expected.error();
        }
      }
      if (!problem.empty() && report.unencodable.size() < kUnencodableMax)
        report.unencodable.push_back(source.row->row.key + ": " + problem);
    }
    return {};
  });
  if (!read.ok()) return read;
  for (Side& side : sides) {
    Status held =
        side.reader->ReadAll(report.mapping, [&](const std::vector<StoredRow>& page) -> Status {
          if (Status status = GoOn(); !status.ok()) return status;
          for (const StoredRow& row : page) {
            ++side.report->rows_held;
            side.held.Add(row, newest_version_);
          }
          return {};
        });
    if (!held.ok()) return held;
  }
  return {};
}

Status Verifier::CompareSide(const MappingPtr& mapping, Side& side, TableReport& report) {
  std::vector<bool> ranges(kRanges);
  size_t rows = 0;
  const auto compare = [&]() -> Status {
    if (rows == 0) return {};
    Result<std::vector<StoredRow>> candidates = CompareRanges(mapping, side, ranges);
    ranges.assign(kRanges, false);
    rows = 0;
    if (!candidates.ok()) return candidates.error();
    return LookAgain(mapping, side, *std::move(candidates), report);
  };
  const bool may_forget = side.reader->MayForget(*mapping);
  for (size_t range = 0; range < kRanges; ++range) {
    const Digest& expected = side.expected[range];
    const Digest& held = side.held[range];
    if (expected.Equals(held) || (may_forget && held.rows == 0)) continue;
    const size_t more = std::max(expected.rows, held.rows);
    if (rows + more > kRowsInMemoryMax) {
      if (Status status = compare(); !status.ok()) return status;
    }
    ranges[range] = true;
    rows += more;
  }
  return compare();
}

Status Verifier::ForEachExpected(const MappingPtr& mapping, StoreReader& reader,
                                 const std::function<void(StoredRow)>& visit) {
  return rows_.ReadAll(mapping, [&](const std::vector<TableRow>& page) -> Status {
    if (Status status = GoOn(); !status.ok()) return status;
    for (const TableRow& source : page) {
      if (!source.row->capture_error.empty()) continue;
      Result<std::optional<StoredRow>> expected = reader.Expected(source.row);
      if (!expected.ok() && !IsUnencodable(expected.error())) return expected.error();
      if (expected.ok() && *expected) visit(**std::move(expected));
    }
    return {};
  });
}

Result<std::vector<StoredRow>> Verifier::CompareRanges(const MappingPtr& mapping, Side& side,
                                                       const std::vector<bool>& ranges) {
  struct Expectation {
    std::string key;
    Digest digest;
    bool seen = false;
  };
  std::unordered_map<std::string, Expectation> expected;
  Status read = ForEachExpected(mapping, *side.reader, [&](StoredRow row) {
    if (!ranges[RangeOf(row.name)]) return;
    const Digest digest = DigestOf(row, newest_version_);
    expected.try_emplace(std::move(row.name), Expectation{row.key.value_or(""), digest});
  });
  if (!read.ok()) return read.error();

  std::vector<StoredRow> candidates;
  const auto doubt = [&candidates](const std::string& name, std::optional<std::string> key) {
    StoredRow row;
    row.name = name;
    row.key = std::move(key);
    candidates.push_back(std::move(row));
  };
  read = side.reader->ReadAll(mapping, [&](const std::vector<StoredRow>& page) -> Status {
    if (Status status = GoOn(); !status.ok()) return status;
    for (const StoredRow& row : page) {
      if (!ranges[RangeOf(row.name)]) continue;
      const auto found = expected.find(row.name);
      if (found == expected.end()) {
        doubt(row.name, row.key);
      } else if (std::exchange(found->second.seen, true) ||
                 !found->second.digest.Equals(DigestOf(row, newest_version_))) {
        doubt(row.name, found->second.key);
      }
    }
    return {};
  });
  if (!read.ok()) return read.error();
  if (!side.reader->MayForget(*mapping)) {
    for (const auto& [name, row] : expected) {
      if (!row.seen) doubt(name, row.key);
    }
  }
  std::ranges::sort(candidates, {}, &StoredRow::name);
  const auto same_name = [](const StoredRow& a, const StoredRow& b) { return a.name == b.name; };
  candidates.erase(std::unique(candidates.begin(), candidates.end(), same_name), candidates.end());
  return candidates;
}

Status Verifier::LookAgain(const MappingPtr& mapping, Side& side, std::vector<StoredRow> candidates,
                           TableReport& report) {
  for (size_t begin = 0; begin < candidates.size(); begin += kLookRowsMax) {
    if (side.report->differences.size() >= kDifferencesMax) {
      side.report->not_looked_at += static_cast<int64_t>(candidates.size() - begin);
      return {};
    }
    const size_t end = std::min(begin + kLookRowsMax, candidates.size());
    std::vector<StoredRow> open(candidates.begin() + static_cast<ptrdiff_t>(begin),
                                candidates.begin() + static_cast<ptrdiff_t>(end));
    for (int look = 0; look < kLooksMax && !open.empty(); ++look) {
      Result<std::vector<StoredRow>> undecided = Look(mapping, side, open, report);
      if (!undecided.ok()) return undecided.error();
      open = *std::move(undecided);
    }
    side.report->busy += static_cast<int64_t>(open.size());
  }
  return {};
}

Result<std::vector<StoredRow>> Verifier::Look(const MappingPtr& mapping, Side& side,
                                              const std::vector<StoredRow>& candidates,
                                              TableReport& report) {
  if (Status status = GoOn(); !status.ok()) return status.error();
  std::vector<std::string> keys;
  for (const StoredRow& candidate : candidates) {
    if (candidate.key) keys.push_back(*candidate.key);
  }
  // The row before and after: what the store holds in between is to be compared with it only if it
  // stayed the same.
  auto before = rows_.ReadThese(mapping, keys);
  if (!before.ok()) return before.error();
  if (Status synced = rows_.WaitSynced(); !synced.ok()) return synced.error();
  auto held = side.reader->ReadThese(mapping, candidates);
  if (!held.ok()) return held.error();
  auto after = rows_.ReadThese(mapping, keys);
  if (!after.ok()) return after.error();
  Result<int64_t> newest = rows_.NewestVersion();
  if (!newest.ok()) return newest.error();
  Result<std::set<std::string>> parked = rows_.ReadParked(mapping);
  if (!parked.ok()) return parked.error();
  report.parked.insert(parked->begin(), parked->end());

  const RowsByKey rows_before = ByKey(*std::move(before));
  const RowsByKey rows_after = ByKey(*std::move(after));
  std::map<std::string, std::vector<StoredRow>> held_by_name;
  for (StoredRow& row : *held) held_by_name[row.name].push_back(std::move(row));

  std::vector<StoredRow> undecided;
  for (const StoredRow& candidate : candidates) {
    const std::string key = candidate.key.value_or("");
    if (report.parked.contains(key)) continue;
    if (StampOf(rows_before, key) != StampOf(rows_after, key)) {
      undecided.push_back(candidate);
      continue;
    }
    std::optional<StoredRow> expected;
    if (const auto source = rows_after.find(key); source != rows_after.end()) {
      if (!source->second.row->capture_error.empty()) continue;
      Result<std::optional<StoredRow>> encoded = side.reader->Expected(source->second.row);
      if (!encoded.ok() && !IsUnencodable(encoded.error())) return encoded.error();
      if (!encoded.ok()) continue;
      // The row may go by another name by now; what is held under this one is then not its own.
      if (*encoded && (**encoded).name == candidate.name) expected = **std::move(encoded);
    }
    auto difference =
        Compare(expected, held_by_name[candidate.name], *newest, side.reader->MayForget(*mapping));
    if (!difference) continue;
    if (!difference->held.key) difference->held.key = candidate.key;
    side.report->differences.push_back(*std::move(difference));
  }
  return undecided;
}

}  // namespace apex::verify
