// Protocol buffers' wire format, appended to a string its caller owns.
//
// Points are written straight to bytes: a message object for each of their parts costs more than
// all the rest of an upsert. A message inside another one begins with its size, so sizes are
// computed before anything is appended. Any thread may use it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace apex::qdrant::wire {

static_assert(std::endian::native == std::endian::little, "fixed values are copied as they are");

constexpr size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

/// What a string, or a message of this size, takes as field `number`.
constexpr size_t FieldSize(int number, size_t size) {
  return VarintSize(static_cast<uint64_t>(number) << 3) + VarintSize(size) + size;
}
constexpr size_t DoubleFieldSize(int number) {
  return VarintSize(static_cast<uint64_t>(number) << 3) + sizeof(double);
}

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void Varint(int number, uint64_t value) {
    Tag(number, 0);
    Raw(value);
  }
  void Double(int number, double value) {
    Tag(number, 1);
    const auto bits = std::bit_cast<uint64_t>(value);
    out_.append(reinterpret_cast<const char*>(&bits), sizeof bits);
  }
  /// A string, or a message that is encoded already.
  void Bytes(int number, std::string_view bytes) {
    Header(number, bytes.size());
    out_.append(bytes);
  }
  /// The message, or string, of `size` bytes follows.
  void Header(int number, size_t size) {
    Tag(number, 2);
    Raw(size);
  }

 private:
  void Tag(int number, int type) { Raw(static_cast<uint64_t>(number) << 3 | type); }
  void Raw(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }

  std::string& out_;
};

}  // namespace apex::qdrant::wire
