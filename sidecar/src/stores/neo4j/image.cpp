#include "stores/neo4j/image.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "stores/neo4j/errors.h"
#include "stores/neo4j/packstream.h"
#include "stores/neo4j/temporal.h"

namespace apex::neo4j {
namespace {

using packstream::Writer;
namespace json = simdjson::ondemand;

constexpr std::string_view kMalformed = "the image is not what the outbox writes";

/// What is wrong with a value; nullopt: nothing.
using Problem = std::optional<std::string>;

std::string_view Trimmed(std::string_view text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

/// A string's content, or the JSON text of anything else.
Problem TextOf(json::value value, std::string_view& text) {
  json::json_type type;
  if (value.type().get(type) != simdjson::SUCCESS) return std::string(kMalformed);
  const auto error = type == json::json_type::string ? value.get_string().get(text)
                                                     : simdjson::to_json_string(value).get(text);
  if (error != simdjson::SUCCESS) return std::string("the text is not valid UTF-8");
  if (type != json::json_type::string) text = Trimmed(text);
  return std::nullopt;
}

std::string Quoted(std::string_view text, std::string_view what) {
  return "'" + std::string(text.substr(0, 100)) + "' is not " + std::string(what);
}

template <typename Number>
Problem Parse(std::string_view text, std::string_view what, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return std::nullopt;
  return Quoted(text, what);
}

Problem EncodeTemporal(std::string_view text, ColumnKind kind, bool utc, Writer& out) {
  if (text == "infinity" || text == "-infinity") return Quoted(text, "a date that Neo4j can hold");
  if (kind == ColumnKind::kDate) {
    const auto days = ParseDate(text);
    if (!days) return Quoted(text, "a date");
    out.Date(*days);
    return std::nullopt;
  }
  const bool zoned = kind == ColumnKind::kTimestamptz;
  const auto moment = ParseTimestamp(text, zoned);
  if (!moment) return Quoted(text, zoned ? "a timestamp with time zone" : "a timestamp");
  if (zoned) {
    out.DateTimeUtc(moment->seconds, moment->nanoseconds, utc);
  } else {
    out.LocalDateTime(moment->seconds, moment->nanoseconds);
  }
  return std::nullopt;
}

/// Numbers and booleans come as themselves in an image and as text in some keys; both are read from
/// their text.
Problem EncodeText(std::string_view text, ColumnKind kind, bool utc, Writer& out) {
  switch (kind) {
    case ColumnKind::kInt: {
      int64_t number = 0;
      if (Problem problem = Parse(text, "a 64-bit integer", number)) return problem;
      out.Int(number);
      return std::nullopt;
    }
    case ColumnKind::kFloat: {
      double number = 0;  // from_chars reads NaN, Infinity and -Infinity too.
      if (Problem problem = Parse(text, "a double", number)) return problem;
      out.Float(number);
      return std::nullopt;
    }
    case ColumnKind::kBool:
      if (text != "true" && text != "t" && text != "false" && text != "f")
        return Quoted(text, "a boolean");
      out.Bool(text.starts_with('t'));
      return std::nullopt;
    case ColumnKind::kTimestamptz:
    case ColumnKind::kTimestamp:
    case ColumnKind::kDate: return EncodeTemporal(text, kind, utc, out);
    default: out.String(text); return std::nullopt;
  }
}

Problem EncodeScalar(json::value value, ColumnKind kind, bool utc, Writer& out) {
  std::string_view text;
  if (kind == ColumnKind::kJsonb) {
    if (simdjson::to_json_string(value).get(text) != simdjson::SUCCESS)
      return std::string(kMalformed);
    out.String(Trimmed(text));
    return std::nullopt;
  }
  if (Problem problem = TextOf(value, text)) return problem;
  return EncodeText(text, kind, utc, out);
}

/// Neo4j's lists hold neither nulls nor lists: an array with either becomes its JSON text.
Problem EncodeArray(json::value value, ColumnKind kind, bool utc, Writer& out) {
  json::array array;
  if (value.get_array().get(array) != simdjson::SUCCESS) return std::string(kMalformed);
  std::string items;
  Writer writer(items);
  size_t count = 0;
  bool plain = true;
  for (auto item : array) {
    json::value element;
    json::json_type type;
    if (item.get(element) != simdjson::SUCCESS || element.type().get(type) != simdjson::SUCCESS) {
      return std::string(kMalformed);
    }
    if (type == json::json_type::null ||
        (type == json::json_type::array && kind != ColumnKind::kJsonb)) {
      plain = false;
      break;
    }
    if (Problem problem = EncodeScalar(element, kind, utc, writer)) return problem;
    ++count;
  }
  if (plain) {
    out.ListHeader(count);
    out.Raw(items);
    return std::nullopt;
  }
  bool empty = false;
  std::string_view text;
  if (array.reset().get(empty) != simdjson::SUCCESS ||
      array.raw_json().get(text) != simdjson::SUCCESS) {
    return std::string(kMalformed);
  }
  out.String(Trimmed(text));
  return std::nullopt;
}

Problem EncodeValue(json::value value, const Column& column, bool utc, std::string& bytes) {
  json::json_type type;
  if (value.type().get(type) != simdjson::SUCCESS) return std::string(kMalformed);
  if (type == json::json_type::null) return std::nullopt;
  Writer out(bytes);
  return column.is_array ? EncodeArray(value, column.kind, utc, out)
                         : EncodeScalar(value, column.kind, utc, out);
}

StoreError Unencodable(RowName row, std::string_view column, std::string_view problem) {
  std::string message;
  if (!column.empty()) message.append("column ").append(column).append(" of ");
  message.append("row ").append(row.key).append(" of ").append(row.table).append(": ").append(
      problem);
  return MakeError("encode", ErrorKind::kPermanent, kUnencodable, std::move(message));
}

}  // namespace

class ImageEncoder::Parser {
 public:
  bool utc = true;

  bool Load(std::string_view text, json::document& document) {
    buffer_.assign(text);
    buffer_.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    const simdjson::padded_string_view padded(buffer_.data(), buffer_.size(), buffer_.capacity());
    return parser_.iterate(padded).get(document) == simdjson::SUCCESS;
  }

 private:
  std::string buffer_;
  json::parser parser_;
};

ImageEncoder::ImageEncoder() : parser_(std::make_unique<Parser>()) {}

ImageEncoder::~ImageEncoder() = default;

void ImageEncoder::set_utc_datetimes(bool utc) { parser_->utc = utc; }

void EncodedImage::AppendTo(std::string& out, size_t column) const {
  const std::string_view value = (*this)[column];
  if (value.empty()) {
    Writer(out).Null();
  } else {
    out.append(value);
  }
}

Result<EncodedImage> ImageEncoder::Encode(std::string_view image, std::span<const Column> wanted,
                                          RowName row) {
  json::document document;
  json::object object;
  if (!parser_->Load(image, document) || document.get_object().get(object) != simdjson::SUCCESS) {
    return Unencodable(row, {}, kMalformed);
  }
  EncodedImage encoded(wanted.size());
  for (auto field : object) {
    // Unescaped, since a column's name may hold a quote or a backslash.
    std::string_view name;
    json::value value;
    if (field.unescaped_key().get(name) != simdjson::SUCCESS ||
        field.value().get(value) != simdjson::SUCCESS) {
      return Unencodable(row, {}, kMalformed);
    }
    const auto column = std::ranges::find(wanted, name, &Column::name);
    if (column == wanted.end()) continue;
    EncodedImage::Range& range = encoded.ranges_[static_cast<size_t>(column - wanted.begin())];
    range.begin = encoded.bytes_.size();
    if (Problem problem = EncodeValue(value, *column, parser_->utc, encoded.bytes_)) {
      return Unencodable(row, column->name, *problem);
    }
    range.end = encoded.bytes_.size();
  }
  return encoded;
}

Result<EncodedImage> ImageEncoder::EncodeKey(std::string_view key, std::span<const Column> wanted,
                                             RowName row) {
  json::document document;
  json::array array;
  if (!parser_->Load(key, document) || document.get_array().get(array) != simdjson::SUCCESS) {
    return Unencodable(row, {}, kMalformed);
  }
  EncodedImage encoded(wanted.size());
  size_t index = 0;
  for (auto item : array) {
    json::value value;
    if (index == wanted.size() || item.get(value) != simdjson::SUCCESS)
      return Unencodable(row, {}, kMalformed);
    EncodedImage::Range& range = encoded.ranges_[index];
    range.begin = encoded.bytes_.size();
    if (Problem problem = EncodeValue(value, wanted[index], parser_->utc, encoded.bytes_)) {
      return Unencodable(row, wanted[index].name, *problem);
    }
    range.end = encoded.bytes_.size();
    if (range.begin == range.end)
      return Unencodable(row, wanted[index].name, "a key cannot be NULL");
    ++index;
  }
  if (index != wanted.size())
    return Unencodable(row, {}, "the key has another number of columns than the mapping");
  return encoded;
}

}  // namespace apex::neo4j
