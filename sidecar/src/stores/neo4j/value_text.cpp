#include "stores/neo4j/value_text.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace apex::neo4j {
namespace {

using packstream::List;
using packstream::Structure;
using packstream::Value;

constexpr uint8_t kDate = 0x44;
constexpr uint8_t kLocalDateTime = 0x64;
constexpr uint8_t kDateTimeUtc = 0x49;
constexpr uint8_t kDateTimeLegacy = 0x46;

std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string DateText(std::chrono::sys_days day) {
  const std::chrono::year_month_day date(day);
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

/// With as many digits of the second as there are, as the outbox writes them.
std::string MomentText(int64_t seconds, int64_t nanoseconds) {
  const std::chrono::sys_seconds moment{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::hh_mm_ss time(moment - day);
  std::string text = fmt::format("{}T{:02}:{:02}:{:02}", DateText(day), time.hours().count(),
                                 time.minutes().count(), time.seconds().count());
  if (nanoseconds % 1000 != 0) return fmt::format("{}.{:09}", text, nanoseconds);
  if (nanoseconds != 0) text += fmt::format(".{:06}", nanoseconds / 1000);
  return text;
}

int64_t Number(const Structure& structure, size_t index) {
  const auto* number =
      index < structure.fields.size() ? structure.fields[index].As<int64_t>() : nullptr;
  return number == nullptr ? 0 : *number;
}

/// nullopt: not a structure that stands for a column of a row.
std::optional<std::string> Temporal(const Structure& structure) {
  switch (structure.tag) {
    case kDate: return DateText(std::chrono::sys_days{std::chrono::days(Number(structure, 0))});
    case kLocalDateTime: return MomentText(Number(structure, 0), Number(structure, 1));
    case kDateTimeUtc:
    case kDateTimeLegacy:
      // What we wrote is at offset zero; another is shown as it is.
      if (Number(structure, 2) == 0) {
        return MomentText(Number(structure, 0), Number(structure, 1)) + "Z";
      }
      return std::nullopt;
    default: return std::nullopt;
  }
}

std::string ShowList(const List& list, char open, char close) {
  std::string text(1, open);
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) text += ", ";
    text += ShowValue(list[i]);
  }
  return text + close;
}

std::string ShowStructure(const Structure& structure) {
  if (const std::optional<std::string> text = Temporal(structure)) return *text;
  return fmt::format("structure {:#04x}{}", structure.tag, ShowList(structure.fields, '(', ')'));
}

}  // namespace

std::string ShowValue(const Value& value) {
  if (const auto* flag = value.As<bool>()) return *flag ? "true" : "false";
  if (const auto* number = value.As<int64_t>()) return std::to_string(*number);
  if (const auto* number = value.As<double>()) {
    const std::string text = fmt::format("{}", *number);
    // A float that happens to be whole is no integer.
    return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
  }
  if (const auto* text = value.As<std::string>()) return Quoted(*text);
  if (const auto* list = value.As<List>()) return ShowList(*list, '[', ']');
  if (const auto* structure = value.As<Structure>()) return ShowStructure(*structure);
  if (value.As<std::monostate>() != nullptr) return "null";
  return "a value that no row has";
}

std::string ShowEncoded(std::string_view encoded) {
  const std::optional<Value> value = packstream::Decode(encoded);
  return value ? ShowValue(*value) : "null";
}

std::optional<std::string> KeyJson(const Value& value) {
  if (const auto* number = value.As<int64_t>()) return std::to_string(*number);
  if (const auto* text = value.As<std::string>()) return Quoted(*text);
  if (const auto* flag = value.As<bool>()) return *flag ? "\"true\"" : "\"false\"";
  if (const auto* number = value.As<double>()) return Quoted(fmt::format("{}", *number));
  if (const auto* structure = value.As<Structure>()) {
    const std::optional<std::string> text = Temporal(*structure);
    return text ? std::optional(Quoted(*text)) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace apex::neo4j
