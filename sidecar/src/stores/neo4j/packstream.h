// PackStream version 1, the encoding of Bolt's messages and values.
//
// A Writer appends to a string its caller owns; Decode reads one value. Neither keeps state between
// calls, so both may be used from any thread. Rows are written straight to bytes: a Value is built
// only from what the server answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace apex::neo4j::packstream {

struct Value;
struct Entry;
using List = std::vector<Value>;
using Map = std::vector<Entry>;

struct Bytes {
  std::string data;
};

struct Structure {
  uint8_t tag = 0;
  List fields;
};

struct Value {
  std::variant<std::monostate, bool, int64_t, double, std::string, Bytes, List, Map, Structure>
      data;

  /// The value as a T, or nullptr when it is something else.
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&data);
  }
  /// A map's member; nullptr when this is no map or has no such key.
  const Value* Find(std::string_view key) const;
  /// A map's member that is a string; empty when there is none.
  std::string_view FindString(std::string_view key) const;
};

struct Entry {
  std::string key;
  Value value;
};

/// Values nested deeper than this are refused: no answer we ask for comes near it.
inline constexpr int kDepthMax = 64;

/// Decodes the value at the start of `bytes` and moves `bytes` behind it. nullopt: malformed, cut
/// short or too deep.
std::optional<Value> Decode(std::string_view& bytes);

/// Appends values. A list, map or structure is its header followed by as many elements (pairs,
/// fields) as it announced.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void Null();
  void Bool(bool value);
  void Int(int64_t value);
  void Float(double value);
  void String(std::string_view value);
  void ListHeader(size_t size);
  void MapHeader(size_t size);
  /// `fields` is at most 15.
  void StructureHeader(size_t fields, uint8_t tag);
  /// A value that is encoded already.
  void Raw(std::string_view encoded) { out_.append(encoded); }

  /// Days since 1970-01-01.
  void Date(int64_t days);
  /// A wall clock without zone, as seconds since 1970-01-01 00:00:00.
  void LocalDateTime(int64_t seconds, int64_t nanoseconds);
  /// An instant, shown in UTC. `utc` is how Bolt 5 counts (seconds of the instant); Bolt 4.4 counts
  /// seconds of the wall clock. At offset zero they are the same number under another tag.
  void DateTimeUtc(int64_t seconds, int64_t nanoseconds, bool utc);

 private:
  void Byte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void BigEndian(uint64_t value, int bytes);
  void Header(size_t size, uint8_t tiny, uint8_t marker8);

  std::string& out_;
};

}  // namespace apex::neo4j::packstream
