#include "stores/redis/redis_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "stores/redis/error.h"

namespace apex::redis {
namespace {

/// Spaces between tokens mean nothing.
std::string Compact(std::string_view json) {
  std::string compact;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == ' ' && !quoted) continue;
    compact.push_back(json[i]);
    if (json[i] == '"') quoted = !quoted;
    if (json[i] == '\\' && i + 1 < json.size()) compact.push_back(json[++i]);
  }
  return compact;
}

std::optional<int64_t> VersionOf(const Image& image) {
  const std::optional<std::string_view> text = image.Find("_apex_seq");
  if (!text) return std::nullopt;
  int64_t version = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), version);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return version;
}

/// As the outbox writes it: integers as numbers, everything else as text.
std::optional<std::string> KeyOf(const TableMapping& mapping, const Image& image) {
  std::string key = "[";
  for (const Column& column : mapping.key) {
    const std::optional<std::string_view> value = image.Find(column.name);
    if (!value || *value == "null") return std::nullopt;
    if (key.size() > 1) key += ',';
    const bool as_it_is = column.kind == ColumnKind::kInt || value->starts_with('"');
    key += as_it_is ? std::string(*value) : nlohmann::json(*value).dump();
  }
  return key + "]";
}

}  // namespace

std::optional<StoredRow> DescribeEntry(const TableMapping& mapping, const CachePlan& plan,
                                       const std::string& name, const std::string& value) {
  Image image;
  if (!image.Read(value)) return std::nullopt;
  StoredRow row;
  row.name = name;
  row.version = VersionOf(image);
  if (!row.version || plan.Entry(image) != name) return std::nullopt;
  row.key = KeyOf(mapping, image);
  row.image = value;
  for (const std::string& column : mapping.cache->columns) {
    const std::optional<std::string_view> text = image.Find(column);
    row.fields.push_back({column, text ? Compact(*text) : "absent"});
  }
  std::ranges::sort(row.fields);
  return row;
}

Result<std::unique_ptr<RedisReader>> RedisReader::Create(RedisOptions options) {
  const std::optional<Target> target = ParseTarget(options);
  if (!target) {
    return ClientError("configure", ErrorKind::kPermanent, "apex.config",
                       fmt::format("the uri is not of the form {}", kUriForms));
  }
  return std::unique_ptr<RedisReader>(new RedisReader(std::move(options), *target));
}

Result<const CachePlan*> RedisReader::PlanOf(const MappingPtr& mapping) {
  const auto known = plans_.find(mapping.get());
  if (known != plans_.end()) return &known->second;
  Result<CachePlan> compiled = CachePlan::Compile(mapping, options_.key_prefix);
  if (!compiled.ok()) return compiled.error();
  return &plans_.emplace(mapping.get(), *std::move(compiled)).first->second;
}

Result<std::optional<StoredRow>> RedisReader::Expected(const ChangePtr& row) {
  Result<const CachePlan*> plan = PlanOf(row->mapping);
  if (!plan.ok()) return plan.error();
  Image image;
  if (!image.Read(row->after.value_or("{}"))) {
    return ClientError("encode", ErrorKind::kPermanent, kUnencodable,
                       "the image of row " + row->row.key + " is no JSON object");
  }
  const std::optional<std::string> name = (*plan)->Entry(image);
  if (!name) return std::optional<StoredRow>();
  Result<std::string> value = (*plan)->Value(row->seq, row->row, image);
  if (!value.ok()) return value.error();
  std::optional<StoredRow> expected = DescribeEntry(*row->mapping, **plan, *name, *value);
  if (expected) expected->key = row->row.key;
  return expected;
}

Status RedisReader::ReadAll(const MappingPtr& mapping, const Page& page) {
  Result<const CachePlan*> plan = PlanOf(mapping);
  if (!plan.ok()) return plan.error();
  const PatternSet entries({(*plan)->EntryPattern()});
  ScanPass pass;
  while (!pass.over) {
    const auto keys = client_->Scan("read", entries, pass, Deadline::After(kReadTimeout));
    if (!keys.ok()) return keys.error();
    Result<std::vector<StoredRow>> rows = ReadKeys(*mapping, **plan, *keys);
    if (!rows.ok()) return rows.error();
    if (Status status = page(*std::move(rows)); !status.ok()) return status;
  }
  return {};
}

Result<std::vector<StoredRow>> RedisReader::ReadThese(const MappingPtr& mapping,
                                                      std::span<const StoredRow> rows) {
  Result<const CachePlan*> plan = PlanOf(mapping);
  if (!plan.ok()) return plan.error();
  std::vector<std::string> keys;
  for (const StoredRow& row : rows) keys.push_back(row.name);
  return ReadKeys(*mapping, **plan, keys);
}

Result<std::vector<StoredRow>> RedisReader::ReadKeys(const TableMapping& mapping,
                                                     const CachePlan& plan,
                                                     const std::vector<std::string>& keys) {
  std::vector<StoredRow> rows;
  if (keys.empty()) return rows;
  // MGET answers nil where a key holds something else than a string; GET would be an error. One for
  // all keys, or where keys have slots one for each.
  Commands get;
  if (client_->has_slots()) {
    for (const std::string& key : keys) get.Add({"MGET", key}, 1);
  } else {
    get.Begin(1 + keys.size(), 1);
    get.Argument("MGET");
    for (const std::string& key : keys) get.Argument(key);
  }
  const auto replies = client_->Run("read", get, Deadline::After(kReadTimeout));
  if (!replies.ok()) return replies.error();
  auto key = keys.begin();
  for (const Reply& reply : *replies) {
    for (const Reply& value : reply.elements) {
      if (key == keys.end()) break;
      if (value.type == Reply::Type::kText) {
        if (auto row = DescribeEntry(mapping, plan, *key, value.text))
          rows.push_back(*std::move(row));
      }
      ++key;
    }
  }
  return rows;
}

}  // namespace apex::redis
