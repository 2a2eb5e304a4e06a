#include "verify/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace apex::verify {
namespace {

/// A single precision number is kept to this, relative to the longer of two vectors.
constexpr double kTolerance = 1e-4;
/// Of a value's text, in a message.
constexpr size_t kShownMax = 200;

std::string Shown(const std::string& text) {
  if (text.empty()) return "nothing";
  return text.size() <= kShownMax ? text : text.substr(0, kShownMax) + "...";
}

double LengthOf(const std::vector<float>& vector) {
  double sum = 0;
  for (const float part : vector) sum += static_cast<double>(part) * part;
  return std::sqrt(sum);
}

const StoredField* Find(const StoredRow& row, const std::string& name) {
  const auto found = std::ranges::find(row.fields, name, &StoredField::name);
  return found == row.fields.end() ? nullptr : &*found;
}

void DescribeFields(const StoredRow& expected, const StoredRow& held,
                    std::vector<std::string>& details) {
  for (const StoredField& wanted : expected.fields) {
    const StoredField* found = Find(held, wanted.name);
    const std::string is = found == nullptr ? "absent" : found->text;
    if (is == wanted.text) continue;
    details.push_back(
        fmt::format("{} is {}, should be {}", wanted.name, Shown(is), Shown(wanted.text)));
  }
}

void DescribeVersion(int64_t newest_version, Difference& difference) {
  const std::optional<int64_t>& version = difference.held.version;
  if (!version) {
    difference.details.push_back("it has no version");
  } else if (*version > newest_version) {
    difference.is_ahead = true;
    difference.details.push_back(
        fmt::format("its version {} is higher than any given out, {}", *version, newest_version));
  }
}

}  // namespace

std::string_view Name(Kind kind) {
  switch (kind) {
    case Kind::kMissing: return "missing";
    case Kind::kStale: return "stale";
    case Kind::kExtra: return "extra";
  }
  return "";
}

bool SameVector(const StoredRow& expected, const StoredRow& held) {
  if (expected.vector.size() != held.vector.size()) return false;
  if (!expected.is_direction) return expected.vector == held.vector;
  const double wanted_length = LengthOf(expected.vector);
  const double held_length = LengthOf(held.vector);
  if (wanted_length == 0 || held_length == 0) return wanted_length == held_length;
  double distance = 0;
  for (size_t i = 0; i < held.vector.size(); ++i) {
    const double part = expected.vector[i] / wanted_length - held.vector[i] / held_length;
    distance += part * part;
  }
  return std::sqrt(distance) <= kTolerance;
}

std::optional<Difference> Compare(const std::optional<StoredRow>& expected,
                                  const std::vector<StoredRow>& held, int64_t newest_version,
                                  bool may_forget) {
  if (held.empty()) {
    if (!expected || may_forget) return std::nullopt;
    Difference missing;
    missing.held = *expected;
    return missing;
  }
  Difference difference;
  difference.held = held.front();
  if (held.size() > 1) {
    difference.copies = held;
    difference.details.push_back(fmt::format("it is there {} times", held.size()));
  }
  if (!expected) {
    difference.kind = Kind::kExtra;
    DescribeVersion(newest_version, difference);
    return difference;
  }
  difference.kind = Kind::kStale;
  DescribeVersion(newest_version, difference);
  DescribeFields(*expected, held.front(), difference.details);
  if (!SameVector(*expected, held.front())) difference.details.push_back("the vector differs");
  if (difference.details.empty()) return std::nullopt;
  return difference;
}

}  // namespace apex::verify
