#include "verify/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

namespace apex::verify {
namespace {

/// Fixed point of a projection, and by how much one may be off for each row of a sum.
constexpr double kDirectionScale = 1 << 24;
constexpr int64_t kDirectionTolerance = 1 << 11;

struct Hash {
  uint64_t low = 0;
  uint64_t high = 0;
};

Hash HashOf(std::string_view bytes) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned int length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("this OpenSSL offers no SHA-256");
  }
  Hash hash;
  std::memcpy(&hash.low, digest.data(), sizeof hash.low);
  std::memcpy(&hash.high, digest.data() + sizeof hash.low, sizeof hash.high);
  return hash;
}

uint64_t Mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

/// With its length, so that no two sequences of texts read alike.
void Append(std::string_view text, std::string& bytes) {
  const uint64_t size = text.size();
  bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
  bytes.append(text);
}

/// Parts of the axis between -1 and 1, no two alike: exchanged parts of a direction are noticed.
double AxisAt(size_t index) {
  return static_cast<double>(Mix(index) >> 11) / static_cast<double>(uint64_t{1} << 52) - 1;
}

/// The direction's extent along a random axis, weighted by the row's name so that two rows with
/// each other's direction are noticed.
int64_t Project(const std::vector<float>& vector, std::string_view name) {
  double length = 0;
  double along = 0;
  for (size_t i = 0; i < vector.size(); ++i) {
    length += static_cast<double>(vector[i]) * vector[i];
    along += vector[i] * AxisAt(i);
  }
  if (length == 0) return 0;
  const double weight = 1 + static_cast<double>(HashOf(name).low >> 40) / (1 << 24);
  return std::llround(along / std::sqrt(length) * weight * kDirectionScale);
}

}  // namespace

size_t RangeOf(std::string_view name) { return Mix(std::hash<std::string_view>{}(name)) % kRanges; }

void Digest::Add(const Digest& other) {
  low += other.low;
  high += other.high;
  directions += other.directions;
  rows += other.rows;
}

bool Digest::Equals(const Digest& other) const {
  return low == other.low && high == other.high && rows == other.rows &&
         std::llabs(directions - other.directions) <=
             kDirectionTolerance * static_cast<int64_t>(rows);
}

Digest DigestOf(const StoredRow& row, int64_t newest_version) {
  std::string bytes;
  Append(row.name, bytes);
  for (const StoredField& field : row.fields) {
    Append(field.name, bytes);
    Append(field.text, bytes);
  }
  if (row.version.value_or(newest_version + 1) > newest_version) Append("of no version", bytes);
  Append(std::to_string(row.vector.size()), bytes);
  if (!row.is_direction) {
    bytes.append(reinterpret_cast<const char*>(row.vector.data()),
                 row.vector.size() * sizeof(float));
  }
  const Hash hash = HashOf(bytes);
  return {hash.low, hash.high, row.is_direction ? Project(row.vector, row.name) : 0, 1};
}

}  // namespace apex::verify
