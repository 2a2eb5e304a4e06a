#include "stores/neo4j/temporal.h"

namespace apex::neo4j {
namespace {

constexpr int64_t kSecondsPerDay = 86400;
/// PostgreSQL's dates end in the year 5874897.
constexpr size_t kYearDigitsMax = 7;

/// Takes digits off the front of `text`.
std::optional<int64_t> TakeNumber(std::string_view& text, size_t digits_min, size_t digits_max) {
  int64_t number = 0;
  size_t digits = 0;
  while (digits < text.size() && digits < digits_max && text[digits] >= '0' &&
         text[digits] <= '9') {
    number = number * 10 + (text[digits++] - '0');
  }
  if (digits < digits_min) return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

bool TakeChar(std::string_view& text, char expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(1);
  return true;
}

/// Days since 1970-01-01, by eras of 400 years that begin in March: std::chrono::year ends at
/// 32767.
int64_t DaysFromCivil(int64_t year, int64_t month, int64_t day) {
  if (month <= 2) --year;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

bool TakeEra(std::string_view& text) {
  if (!text.ends_with(" BC")) return false;
  text.remove_suffix(3);
  return true;
}

std::optional<int64_t> TakeDate(std::string_view& text, bool before_christ) {
  const bool negative = TakeChar(text, '-');
  const auto year = TakeNumber(text, 4, kYearDigitsMax);
  if (!year || !TakeChar(text, '-')) return std::nullopt;
  const auto month = TakeNumber(text, 2, 2);
  if (!month || !TakeChar(text, '-')) return std::nullopt;
  const auto day = TakeNumber(text, 2, 2);
  if (!day || *month < 1 || *month > 12 || *day < 1 || *day > 31) return std::nullopt;
  // Counted as BC there is no year 0: 1 BC comes before 1 AD.
  const int64_t astronomical = before_christ ? 1 - *year : negative ? -*year : *year;
  return DaysFromCivil(astronomical, *month, *day);
}

std::optional<Moment> TakeTime(std::string_view& text) {
  const auto hour = TakeNumber(text, 2, 2);
  if (!hour || !TakeChar(text, ':')) return std::nullopt;
  const auto minute = TakeNumber(text, 2, 2);
  if (!minute || !TakeChar(text, ':')) return std::nullopt;
  const auto second = TakeNumber(text, 2, 2);
  if (!second || *hour > 24 || *minute > 59 || *second > 60) return std::nullopt;
  Moment time{*hour * 3600 + *minute * 60 + *second, 0};
  if (!TakeChar(text, '.')) return time;
  const size_t before = text.size();
  const auto fraction = TakeNumber(text, 1, 9);
  if (!fraction) return std::nullopt;
  time.nanoseconds = *fraction;
  for (size_t digits = before - text.size(); digits < 9; ++digits) time.nanoseconds *= 10;
  return time;
}

std::optional<int64_t> TakeOffsetSeconds(std::string_view& text) {
  if (TakeChar(text, 'Z')) return 0;
  const bool west = text.starts_with('-');
  if (!TakeChar(text, '+') && !TakeChar(text, '-')) return std::nullopt;
  int64_t seconds = 0;
  for (int64_t unit = 3600; unit > 0; unit /= 60) {
    const auto number = TakeNumber(text, 2, 2);
    if (!number) return std::nullopt;
    seconds += *number * unit;
    if (!TakeChar(text, ':')) break;
  }
  return west ? -seconds : seconds;
}

}  // namespace

std::optional<int64_t> ParseDate(std::string_view text) {
  const bool before_christ = TakeEra(text);
  const auto days = TakeDate(text, before_christ);
  if (!days || !text.empty()) return std::nullopt;
  return days;
}

std::optional<Moment> ParseTimestamp(std::string_view text, bool zoned) {
  const bool before_christ = TakeEra(text);
  const auto days = TakeDate(text, before_christ);
  if (!days || (!TakeChar(text, 'T') && !TakeChar(text, ' '))) return std::nullopt;
  const auto time = TakeTime(text);
  if (!time) return std::nullopt;
  Moment moment{*days * kSecondsPerDay + time->seconds, time->nanoseconds};
  if (zoned) {
    const auto offset = TakeOffsetSeconds(text);
    if (!offset) return std::nullopt;
    moment.seconds -= *offset;
  }
  if (!text.empty()) return std::nullopt;
  return moment;
}

}  // namespace apex::neo4j
