// A table and a store in memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "verify/row_source.h"

namespace apex::verify {

inline MappingPtr MakeMapping() {
  auto mapping = std::make_shared<TableMapping>();
  mapping->relation = 1;
  mapping->table = "public.items";
  mapping->pipeline = "default";
  return mapping;
}

inline std::string KeyOf(int id) { return "[" + std::to_string(id) + "]"; }

/// Rows of an id and a value. The mapping is not looked at.
class FakeTable : public RowSource {
 public:
  struct Entry {
    std::string value;
    int changes = 0;
  };

  void Set(int id, const std::string& value) {
    rows[KeyOf(id)].value = value;
    ++rows[KeyOf(id)].changes;
  }
  void Erase(int id) { rows.erase(KeyOf(id)); }

  Status ReadAll(const MappingPtr& mapping,
                 const std::function<Status(std::vector<TableRow>)>& page) override {
    ++passes;
    for (const auto& [key, entry] : rows) {
      if (Status status = page({RowOf(mapping, key, entry)}); !status.ok()) return status;
    }
    return {};
  }
  Result<std::vector<TableRow>> ReadThese(const MappingPtr& mapping,
                                          const std::vector<std::string>& keys) override {
    std::vector<TableRow> found;
    for (const std::string& key : keys) {
      if (const auto row = rows.find(key); row != rows.end())
        found.push_back(RowOf(mapping, key, row->second));
    }
    return found;
  }
  Result<std::set<std::string>> ReadParked(const MappingPtr& /*mapping*/) override {
    return parked;
  }
  Result<int64_t> NewestVersion() override { return newest; }
  Status WaitSynced() override {
    if (on_wait) on_wait();
    return {};
  }
  Status Refresh(const MappingPtr& /*mapping*/, const std::vector<std::string>& keys) override {
    refreshed.insert(refreshed.end(), keys.begin(), keys.end());
    return {};
  }

  std::map<std::string, Entry> rows;
  std::set<std::string> parked;
  int64_t newest = 1000;
  int passes = 0;
  std::function<void()> on_wait;
  std::vector<std::string> refreshed;

 private:
  static TableRow RowOf(const MappingPtr& mapping, const std::string& key, const Entry& entry) {
    auto change = std::make_shared<Change>();
    change->op = Operation::kRefresh;
    change->mapping = mapping;
    change->row = {1, key};
    if (entry.value == "unspeakable") {
      change->capture_error = "column value: unspeakable";
    } else {
      change->after = entry.value;
    }
    return {std::move(change), std::to_string(entry.changes)};
  }
};

class FakeStore : public StoreReader {
 public:
  void Put(int id, const std::string& value, int64_t version = 1) {
    held.insert_or_assign(KeyOf(id), Make(KeyOf(id), value, version));
  }
  void Remove(int id) { held.erase(KeyOf(id)); }

  Store store() const override { return Store::kNeo4j; }
  bool Holds(const TableMapping& /*mapping*/) const override { return true; }
  bool MayForget(const TableMapping& /*mapping*/) const override { return may_forget; }
  Result<std::optional<StoredRow>> Expected(const ChangePtr& row) override {
    if (*row->after == "unencodable") {
      return StoreError{
          Store::kNeo4j, "encode",    ErrorKind::kPermanent, std::string(kUnencodable),
          "no way",      std::nullopt};
    }
    return std::optional(Make(row->row.key, *row->after, 0));
  }
  Status ReadAll(const MappingPtr& /*mapping*/, const Page& page) override {
    ++passes;
    for (const auto& [name, row] : held) {
      if (Status status = page({row}); !status.ok()) return status;
    }
    return {};
  }
  Result<std::vector<StoredRow>> ReadThese(const MappingPtr& /*mapping*/,
                                           std::span<const StoredRow> rows) override {
    std::vector<StoredRow> found;
    for (const StoredRow& row : rows) {
      if (const auto there = held.find(row.name); there != held.end())
        found.push_back(there->second);
    }
    return found;
  }
  Result<std::vector<std::string>> ReadStubs(const MappingPtr& /*mapping*/,
                                             size_t /*count_max*/) override {
    return stubs;
  }

  static StoredRow Make(const std::string& key, const std::string& value, int64_t version) {
    StoredRow row;
    row.name = key;
    row.key = key;
    row.version = version;
    row.fields = {{"value", value}};
    return row;
  }

  std::map<std::string, StoredRow> held;
  std::vector<std::string> stubs;
  bool may_forget = false;
  int passes = 0;
};

}  // namespace apex::verify
