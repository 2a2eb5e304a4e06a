#include "stores/redis/cache_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "stores/redis/error.h"
#include "stores/redis/glob.h"
#include "stores/redis/tags.h"

namespace apex::redis {
namespace {

/// Redis's proto-max-bulk-len: it closes the connection on anything larger.
constexpr size_t kValueBytesMax = 512UL * 1024 * 1024;

/// What a cached value has beside the image it is made of.
constexpr size_t kSpareBytes = 64;

/// A hundred years: Redis counts milliseconds in 64 bits.
constexpr int64_t kSecondsMax = 100LL * 366 * 24 * 3600;

/// Of "2022-02-22T19:22:22.123456Z", as images have a timestamptz; years before Christ and beyond
/// 9999 are told by their sign and length.
int64_t UnixMicrosOf(std::string_view text) {
  std::tm utc{};
  const std::string terminated(text);
  const char* const rest = strptime(terminated.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (rest == nullptr) return text.starts_with('-') ? 0 : kSecondsMax * 1'000'000;
  return static_cast<int64_t>(timegm(&utc)) * 1'000'000;
}

bool IsTime(ColumnKind kind) {
  return kind == ColumnKind::kTimestamptz || kind == ColumnKind::kTimestamp ||
         kind == ColumnKind::kDate;
}

bool HoldsInfinity(const nlohmann::json& value) {
  if (value.is_array()) return std::ranges::any_of(value, HoldsInfinity);
  return value == "infinity" || value == "-infinity";
}

/// Elements of a json[] are strings that hold JSON as it was written; they go in as what they hold.
void AppendJson(const nlohmann::json& value, std::string& out) {
  if (value.is_array()) {
    out += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out += ',';
      AppendJson(value[i], out);
    }
    out += ']';
  } else if (value.is_string()) {
    out += value.get_ref<const std::string&>();
  } else {
    out += value.dump();
  }
}

std::string Quoted(std::string_view text) {
  const auto is_plain = [](unsigned char c) {
    return c >= ' ' && c < 0x7F && c != '"' && c != '\\';
  };
  if (std::ranges::all_of(text, is_plain)) {
    std::string quoted = "\"";
    return quoted.append(text).append("\"");
  }
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// A key of one column is said as its plain text, whatever its type, so that subscribers compare
/// strings; a table as a whole is no document.
std::string DocumentId(const std::string& key) {
  if (key == "[]") return "null";
  // ["0190a5e0-..."], which is what most keys are, needs no parser.
  if (key.starts_with("[\"") && key.find_first_of("\"\\", 2) + 2 == key.size())
    return key.substr(1, key.size() - 2);
  const auto parsed = nlohmann::json::parse(key, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_array() || parsed.size() != 1) return key;
  return Quoted(parsed[0].is_string() ? parsed[0].get<std::string>() : parsed[0].dump());
}

/// The pattern of all values of a column, as narrow as globs allow: keys of other things often
/// begin with the same words.
std::string_view AnyValue(const Column* column) {
  if (column == nullptr || column->is_array) return "*";
  switch (column->kind) {
    case ColumnKind::kUuid: return "????????[-]????[-]????[-]????[-]????????????";
    case ColumnKind::kInt: return "[-0-9]*";
    default: return "*";
  }
}

/// `id` is JSON.
std::string Message(std::string_view id, std::string_view event, std::string_view time) {
  std::string message = R"({"document_id":)";
  message.append(id).append(R"(,"event":)").append(Quoted(event));
  message.append(R"(,"timestamp":")").append(time).append(R"(","source":"cache_service"})");
  return message;
}

StoreError Unencodable(const TableMapping& mapping, const RowId& row, std::string_view column,
                       std::string_view why) {
  return ClientError(
      "write", ErrorKind::kPermanent, kUnencodable,
      fmt::format("column {} of row {} of {}: {}", column, row.key, mapping.table, why));
}

}  // namespace

std::optional<KeyTemplate> KeyTemplate::Compile(std::string_view text) {
  KeyTemplate compiled;
  while (!text.empty()) {
    const size_t open = std::min(text.find('{'), text.size());
    Piece piece{.literal = std::string(text.substr(0, open)), .column = {}};
    if (piece.literal.find('}') != std::string::npos) return std::nullopt;
    compiled.is_pattern_ |= HasGlobCharacter(piece.literal);
    text.remove_prefix(open);
    if (!text.empty()) {
      const size_t close = text.find('}');
      if (close == std::string_view::npos || close == 1) return std::nullopt;
      piece.column = text.substr(1, close - 1);
      text.remove_prefix(close + 1);
    }
    compiled.pieces_.push_back(std::move(piece));
  }
  return compiled;
}

std::vector<std::string> KeyTemplate::columns() const {
  std::vector<std::string> columns;
  for (const Piece& piece : pieces_) {
    if (!piece.column.empty()) columns.push_back(piece.column);
  }
  return columns;
}

std::optional<std::string> KeyTemplate::Render(std::string_view prefix, const Image& image) const {
  std::string rendered = is_pattern_ ? EscapeGlob(prefix) : std::string(prefix);
  for (const Piece& piece : pieces_) {
    rendered += piece.literal;
    if (piece.column.empty()) continue;
    const auto json = image.Find(piece.column);
    const size_t before = rendered.size();
    if (!json || !AppendPlainText(*json, rendered)) return std::nullopt;
    if (is_pattern_)
      rendered.replace(before, std::string::npos, EscapeGlob(rendered.substr(before)));
  }
  return rendered;
}

std::string KeyTemplate::Pattern(std::string_view prefix, const TableMapping& mapping) const {
  std::string pattern = EscapeGlob(prefix);
  for (const Piece& piece : pieces_) {
    pattern += is_pattern_ ? piece.literal : EscapeGlob(piece.literal);
    if (!piece.column.empty()) pattern += AnyValue(mapping.FindColumn(piece.column));
  }
  return pattern;
}

Result<CachePlan> CachePlan::Compile(MappingPtr mapping, std::string key_prefix) {
  CachePlan plan(std::move(mapping), std::move(key_prefix));
  const auto refuse = [&](const std::string& text, std::string_view why) {
    return ClientError(
        "prepare", ErrorKind::kPermanent, kBadMapping,
        fmt::format("cache template \"{}\" of {} {}", text, plan.mapping_->table, why));
  };
  const auto compile = [&](const std::string& text) -> Result<KeyTemplate> {
    auto compiled = KeyTemplate::Compile(text);
    if (!compiled) return refuse(text, "has a brace without its partner or without a column");
    for (const std::string& column : compiled->columns()) {
      if (plan.mapping_->FindColumn(column) == nullptr)
        return refuse(text, "names " + column + ", which is no mapped column");
    }
    return std::move(*compiled);
  };

  if (!plan.cache().entry.empty()) {
    Result<KeyTemplate> entry = compile(plan.cache().entry);
    if (!entry.ok()) return entry.error();
    if (entry->is_pattern())
      return refuse(plan.cache().entry, "must name one key and not a pattern");
    plan.entry_ = *std::move(entry);
  }
  for (const std::string& name : plan.cache().columns) {
    plan.members_.push_back({name, "," + Quoted(name) + ":", plan.mapping_->FindColumn(name)});
  }
  for (const std::string& text : plan.cache().invalidate) {
    Result<KeyTemplate> compiled = compile(text);
    if (!compiled.ok()) return compiled.error();
    plan.invalidate_.push_back(*std::move(compiled));
  }
  for (const std::string& text : plan.cache().tags) {
    Result<KeyTemplate> compiled = compile(text);
    if (!compiled.ok()) return compiled.error();
    if (compiled->is_pattern()) return refuse(text, "must name one tag and not a pattern");
    plan.tags_.push_back(*std::move(compiled));
  }
  return plan;
}

std::optional<std::string> CachePlan::Entry(const Image& image) const {
  return entry_ ? entry_->Render(key_prefix_, image) : std::nullopt;
}

TableKeys CachePlan::KeysOfTable() const {
  TableKeys table;
  if (entry_) table.entries = EntryPattern();
  table.versioned = writes_entries();
  for (const KeyTemplate& key : invalidate_) {
    const bool same_for_all = !key.is_pattern() && key.columns().empty();
    if (same_for_all) {
      table.keys.push_back(*key.Render(key_prefix_, Image()));
    } else {
      table.patterns.push_back(key.Pattern(key_prefix_, *mapping_));
    }
  }
  for (const KeyTemplate& tag : tags_) {
    if (tag.columns().empty()) {
      table.tags.push_back(*tag.Render("", Image()));
    } else {
      table.tag_sets.push_back(tag.Pattern(TagKey(key_prefix_, ""), *mapping_));
    }
  }
  return table;
}

void CachePlan::AddInvalidations(const Image& image, Invalidations& invalidations) const {
  for (const KeyTemplate& key : invalidate_) {
    if (auto rendered = key.Render(key_prefix_, image)) {
      (key.is_pattern() ? invalidations.patterns : invalidations.keys)
          .push_back(*std::move(rendered));
    }
  }
}

void CachePlan::AddKeys(const Image& image, std::vector<std::string>& keys) const {
  for (const KeyTemplate& key : invalidate_) {
    if (key.is_pattern()) continue;
    if (auto rendered = key.Render(key_prefix_, image)) keys.push_back(*std::move(rendered));
  }
}

void CachePlan::AddTags(const Image& image, std::vector<std::string>& tags) const {
  for (const KeyTemplate& tag : tags_) {
    if (auto rendered = tag.Render("", image)) tags.push_back(*std::move(rendered));
  }
}

Lifetime CachePlan::LifetimeOf(const Image& image, int64_t now_us) const {
  const Lifetime of_table{.over = false, .seconds = cache().ttl_seconds};
  if (cache().ttl_column.empty()) return of_table;
  const std::string_view json = image.Find(cache().ttl_column).value_or("null");
  if (json == "null") return of_table;
  int64_t seconds = 0;
  if (json.starts_with('"')) {
    const std::string_view text = json.substr(1, json.size() - 2);
    if (text == "infinity") return {.over = false, .seconds = std::nullopt};
    if (text == "-infinity") return {.over = true, .seconds = std::nullopt};
    // Whole seconds: an entry rather goes a moment too early.
    seconds = (UnixMicrosOf(text) - now_us) / 1'000'000;
  } else {
    std::from_chars(json.data(), json.data() + json.size(), seconds);
  }
  if (seconds <= 0) return {.over = true, .seconds = std::nullopt};
  return {.over = false, .seconds = std::min(seconds, kSecondsMax)};
}

Result<std::string> CachePlan::Value(int64_t seq, const RowId& row, const Image& image) const {
  std::string value;
  value.reserve(image.size() + kSpareBytes);
  value.append(R"({"_apex_seq":)").append(std::to_string(seq));
  for (const auto& [name, start, column] : members_) {
    const std::string_view json = image.Find(name).value_or("null");
    value += start;
    if (column == nullptr || json == "null") {
      value += json;
      continue;
    }
    if (IsTime(column->kind) && json.find("infinity") != std::string_view::npos &&
        HoldsInfinity(nlohmann::json::parse(json, nullptr, false))) {
      return Unencodable(*mapping_, row, name,
                         "an infinite date or time has no form in cached JSON");
    }
    if (column->kind == ColumnKind::kJson) {
      AppendJson(nlohmann::json::parse(json, nullptr, false), value);
    } else {
      value += json;
    }
    if (value.size() > kValueBytesMax)
      return Unencodable(*mapping_, row, name, "the cached value would exceed Redis's 512 MB");
  }
  value += '}';
  return value;
}

void Invalidations::Unite() {
  for (std::vector<std::string>* each : {&keys, &patterns, &tags}) {
    std::ranges::sort(*each);
    each->erase(std::unique(each->begin(), each->end()), each->end());
  }
}

std::string EventTime(int64_t now_us) {
  const auto seconds = static_cast<std::time_t>(now_us / 1'000'000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     now_us % 1'000'000);
}

std::optional<ManualInvalidation> ReadManualInvalidation(std::string_view prefix,
                                                         std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto read_names = [&](const char* member, const std::string& before,
                              std::vector<std::string>& names) {
    const auto found = json.find(member);
    if (found == json.end()) return true;
    if (!found->is_array() || !std::ranges::all_of(*found, &nlohmann::json::is_string))
      return false;
    for (const auto& name : *found) names.push_back(before + name.get_ref<const std::string&>());
    return true;
  };
  const auto read_text = [&](const char* member, std::string& into) {
    const auto found = json.find(member);
    if (found == json.end()) return true;
    if (found->is_string()) into = found->get_ref<const std::string&>();
    return found->is_string();
  };
  ManualInvalidation read;
  const bool sound = read_names("keys", std::string(prefix), read.invalidations.keys) &&
                     read_names("patterns", EscapeGlob(prefix), read.invalidations.patterns) &&
                     read_names("tags", "", read.invalidations.tags) &&
                     read_text("event", read.event) && read_text("document_id", read.document_id);
  if (!sound) return std::nullopt;
  return read;
}

std::string EventMessage(const RowId& row, std::string_view event, std::string_view time) {
  return Message(DocumentId(row.key), event, time);
}

std::string EventMessage(std::string_view id, std::string_view event, std::string_view time) {
  return Message(Quoted(id), event, time);
}

}  // namespace apex::redis
