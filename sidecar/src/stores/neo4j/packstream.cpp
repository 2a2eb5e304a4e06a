#include "stores/neo4j/packstream.h"

#include <array>
#include <bit>
#include <cassert>

namespace apex::neo4j::packstream {
namespace {

constexpr uint8_t kNull = 0xC0, kFloat = 0xC1, kFalse = 0xC2, kTrue = 0xC3;
constexpr uint8_t kInt8 = 0xC8, kInt16 = 0xC9, kInt32 = 0xCA, kInt64 = 0xCB;
constexpr uint8_t kBytes8 = 0xCC, kString8 = 0xD0, kList8 = 0xD4, kMap8 = 0xD8;
constexpr uint8_t kTinyString = 0x80, kTinyList = 0x90, kTinyMap = 0xA0, kTinyStructure = 0xB0;

constexpr uint8_t kDateTag = 'D', kLocalDateTimeTag = 'd', kDateTimeTag = 'I',
                  kLegacyDateTimeTag = 'F';

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  std::string_view rest() const { return bytes_; }

  std::optional<Value> Read(int depth) {
    std::optional<uint64_t> first = Unsigned(1);
    if (!first || depth > kDepthMax) return std::nullopt;
    const auto marker = static_cast<uint8_t>(*first);
    if (marker < 0x80 || marker >= 0xF0)
      return Value{static_cast<int64_t>(static_cast<int8_t>(marker))};
    switch (marker & 0xF0) {
      case kTinyString: return ReadString(marker & 0x0F);
      case kTinyList: return ReadList(marker & 0x0F, depth);
      case kTinyMap: return ReadMap(marker & 0x0F, depth);
      case kTinyStructure: return ReadStructure(marker & 0x0F, depth);
      default: return ReadMarked(marker, depth);
    }
  }

 private:
  std::optional<Value> ReadMarked(uint8_t marker, int depth) {
    switch (marker) {
      case kNull: return Value{};
      case kFalse: return Value{false};
      case kTrue: return Value{true};
      case kFloat: {
        std::optional<uint64_t> bits = Unsigned(8);
        if (!bits) return std::nullopt;
        return Value{std::bit_cast<double>(*bits)};
      }
      case kInt8:
      case kInt16:
      case kInt32:
      case kInt64: return ReadInt(1 << (marker - kInt8));
      default: break;
    }
    // The remaining families have a length of 1, 2 or 4 bytes, told by the marker's last two bits.
    const uint8_t width = marker & 0x03;
    if (width == 3) return std::nullopt;
    std::optional<uint64_t> size = Unsigned(1 << width);
    if (!size) return std::nullopt;
    switch (marker - width) {
      case kBytes8: {
        std::optional<std::string_view> data = Take(*size);
        if (!data) return std::nullopt;
        return Value{Bytes{std::string(*data)}};
      }
      case kString8: return ReadString(*size);
      case kList8: return ReadList(*size, depth);
      case kMap8: return ReadMap(*size, depth);
      default: return std::nullopt;
    }
  }

  std::optional<Value> ReadInt(int width) {
    std::optional<uint64_t> bits = Unsigned(width);
    if (!bits) return std::nullopt;
    const int unused = 64 - 8 * width;
    return Value{static_cast<int64_t>(*bits << unused) >> unused};
  }

  std::optional<Value> ReadString(uint64_t size) {
    std::optional<std::string_view> text = Take(size);
    if (!text) return std::nullopt;
    return Value{std::string(*text)};
  }

  std::optional<Value> ReadList(uint64_t size, int depth) {
    std::optional<List> items = ReadItems(size, depth);
    if (!items) return std::nullopt;
    return Value{std::move(*items)};
  }

  std::optional<Value> ReadStructure(uint64_t size, int depth) {
    std::optional<uint64_t> tag = Unsigned(1);
    if (!tag) return std::nullopt;
    std::optional<List> fields = ReadItems(size, depth);
    if (!fields) return std::nullopt;
    return Value{Structure{static_cast<uint8_t>(*tag), std::move(*fields)}};
  }

  std::optional<List> ReadItems(uint64_t size, int depth) {
    // Each item is a byte at least: a length that promises more than there is must not reserve
    // memory.
    if (size > bytes_.size()) return std::nullopt;
    List items;
    items.reserve(size);
    for (uint64_t i = 0; i < size; ++i) {
      std::optional<Value> item = Read(depth + 1);
      if (!item) return std::nullopt;
      items.push_back(std::move(*item));
    }
    return items;
  }

  std::optional<Value> ReadMap(uint64_t size, int depth) {
    if (size > bytes_.size()) return std::nullopt;
    Map map;
    map.reserve(size);
    for (uint64_t i = 0; i < size; ++i) {
      std::optional<Value> key = Read(depth + 1);
      if (!key || key->As<std::string>() == nullptr) return std::nullopt;
      std::optional<Value> value = Read(depth + 1);
      if (!value) return std::nullopt;
      map.push_back({*key->As<std::string>(), std::move(*value)});
    }
    return Value{std::move(map)};
  }

  std::optional<std::string_view> Take(uint64_t size) {
    if (size > bytes_.size()) return std::nullopt;
    std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  std::optional<uint64_t> Unsigned(int width) {
    std::optional<std::string_view> taken = Take(static_cast<uint64_t>(width));
    if (!taken) return std::nullopt;
    uint64_t value = 0;
    for (char c : *taken) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }

  std::string_view bytes_;
};

}  // namespace

const Value* Value::Find(std::string_view key) const {
  const Map* map = As<Map>();
  if (map == nullptr) return nullptr;
  for (const auto& [name, value] : *map) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string_view Value::FindString(std::string_view key) const {
  const Value* value = Find(key);
  const std::string* text = value == nullptr ? nullptr : value->As<std::string>();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

std::optional<Value> Decode(std::string_view& bytes) {
  Reader reader(bytes);
  std::optional<Value> value = reader.Read(0);
  if (value) bytes = reader.rest();
  return value;
}

void Writer::BigEndian(uint64_t value, int bytes) {
  std::array<char, sizeof value> encoded;
  for (int i = 0; i < bytes; ++i) encoded[i] = static_cast<char>(value >> 8 * (bytes - 1 - i));
  out_.append(encoded.data(), static_cast<size_t>(bytes));
}

void Writer::Header(size_t size, uint8_t tiny, uint8_t marker8) {
  if (size < 16) {
    Byte(tiny | static_cast<uint8_t>(size));
  } else if (size <= 0xFF) {
    Byte(marker8);
    BigEndian(size, 1);
  } else if (size <= 0xFFFF) {
    Byte(marker8 + 1);
    BigEndian(size, 2);
  } else {
    assert(size <= 0xFFFFFFFF);
    Byte(marker8 + 2);
    BigEndian(size, 4);
  }
}

void Writer::Null() { Byte(kNull); }

void Writer::Bool(bool value) { Byte(value ? kTrue : kFalse); }

void Writer::Int(int64_t value) {
  if (value >= -16 && value <= INT8_MAX) {
    Byte(static_cast<uint8_t>(value));
  } else if (value >= INT8_MIN && value <= INT8_MAX) {
    Byte(kInt8);
    BigEndian(static_cast<uint64_t>(value), 1);
  } else if (value >= INT16_MIN && value <= INT16_MAX) {
    Byte(kInt16);
    BigEndian(static_cast<uint64_t>(value), 2);
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    Byte(kInt32);
    BigEndian(static_cast<uint64_t>(value), 4);
  } else {
    Byte(kInt64);
    BigEndian(static_cast<uint64_t>(value), 8);
  }
}

void Writer::Float(double value) {
  Byte(kFloat);
  BigEndian(std::bit_cast<uint64_t>(value), 8);
}

void Writer::String(std::string_view value) {
  Header(value.size(), kTinyString, kString8);
  out_.append(value);
}

void Writer::ListHeader(size_t size) { Header(size, kTinyList, kList8); }

void Writer::MapHeader(size_t size) { Header(size, kTinyMap, kMap8); }

void Writer::StructureHeader(size_t fields, uint8_t tag) {
  assert(fields < 16);
  Byte(kTinyStructure | static_cast<uint8_t>(fields));
  Byte(tag);
}

void Writer::Date(int64_t days) {
  StructureHeader(1, kDateTag);
  Int(days);
}

void Writer::LocalDateTime(int64_t seconds, int64_t nanoseconds) {
  StructureHeader(2, kLocalDateTimeTag);
  Int(seconds);
  Int(nanoseconds);
}

void Writer::DateTimeUtc(int64_t seconds, int64_t nanoseconds, bool utc) {
  StructureHeader(3, utc ? kDateTimeTag : kLegacyDateTimeTag);
  Int(seconds);
  Int(nanoseconds);
  Int(0);
}

}  // namespace apex::neo4j::packstream
