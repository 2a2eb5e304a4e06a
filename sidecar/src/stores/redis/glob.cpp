#include "stores/redis/glob.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

namespace apex::redis {
namespace {

constexpr std::string_view kGlobCharacters = "*?[]\\";

/// Bounds what the search for runs takes of memory; longer ones are cut.
constexpr size_t kRunBytesMax = 8;

/// Consumes a class, pattern[at] being the character after '['. Returns whether `c` is in it and
/// moves `at` to the last character of the class. A class that the pattern's end cuts short is
/// closed there. Ranges compare plain chars, signed where Redis's are.
bool ClassMatches(std::string_view pattern, size_t& at, char c) {
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  bool found = false;
  for (; at < pattern.size() && pattern[at] != ']'; ++at) {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) {
      ++at;
      found |= pattern[at] == c;
    } else if (at + 2 < pattern.size() && pattern[at + 1] == '-') {
      const auto [low, high] = std::minmax({pattern[at], pattern[at + 2]});
      found |= low <= c && c <= high;
      at += 2;
    } else {
      found |= pattern[at] == c;
    }
  }
  if (at >= pattern.size()) at = pattern.size() - 1;
  return found != negated;
}

/// Matches the one pattern element at `at` against `c` and moves `at` past it.
bool ElementMatches(std::string_view pattern, size_t& at, char c) {
  bool matches = true;
  switch (pattern[at]) {
    case '?': break;
    case '[':
      ++at;
      matches = ClassMatches(pattern, at, c);
      break;
    case '\\':
      if (at + 1 < pattern.size()) ++at;
      [[fallthrough]];
    default: matches = pattern[at] == c;
  }
  ++at;
  return matches;
}

/// The runs of ordinary characters in a pattern, cut to kRunBytesMax. Nothing inside a class
/// counts.
std::vector<std::string> LiteralRuns(std::string_view pattern) {
  std::vector<std::string> runs(1);
  for (size_t at = 0; at < pattern.size(); ++at) {
    char c = pattern[at];
    if (c == '*' || c == '?' || c == '[') {
      if (c == '[') ClassMatches(pattern, ++at, 0);
      runs.emplace_back();
      continue;
    }
    if (c == '\\' && at + 1 < pattern.size()) c = pattern[++at];
    runs.back() += c;
  }
  for (std::string& run : runs) {
    // The tail of a run is kept: identifiers of one kind differ at their end more than at their
    // beginning.
    if (run.size() > kRunBytesMax) run.erase(0, run.size() - kRunBytesMax);
  }
  std::erase(runs, "");
  return runs;
}

/// What every key matched by the pattern begins with.
std::string LiteralPrefix(std::string_view pattern) {
  std::string prefix;
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '*' || pattern[at] == '?' || pattern[at] == '[') break;
    if (pattern[at] == '\\' && at + 1 < pattern.size()) ++at;
    prefix += pattern[at];
  }
  return prefix;
}

}  // namespace

bool HasGlobCharacter(std::string_view text) {
  return text.find_first_of(kGlobCharacters) != std::string_view::npos;
}

std::string EscapeGlob(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    if (kGlobCharacters.find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// Only the last '*' is ever reconsidered: an earlier one that took less could be extended by it
// just as well. That keeps the cost at the product of the lengths, where trying every star again
// would be exponential.
bool GlobMatch(std::string_view pattern, std::string_view text) {
  size_t at = 0;
  size_t position = 0;
  std::optional<size_t> after_star;
  size_t star_position = 0;
  while (position < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      after_star = ++at;
      star_position = position;
      continue;
    }
    if (at < pattern.size() && ElementMatches(pattern, at, text[position])) {
      ++position;
      continue;
    }
    if (!after_star) return false;
    at = *after_star;
    position = ++star_position;
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

PatternSet::PatternSet(std::vector<std::string> patterns)
    : scan_pattern_(CommonPattern(patterns)), scans_exactly_(patterns.size() == 1) {
  std::vector<std::vector<std::string>> runs_of;
  std::unordered_map<std::string, size_t> shared_by;
  for (const std::string& pattern : patterns) {
    runs_of.push_back(LiteralRuns(pattern));
    for (const std::string& run : runs_of.back()) ++shared_by[run];
  }
  std::vector<std::string> runs;
  std::unordered_map<std::string, size_t> known;
  for (size_t i = 0; i < patterns.size(); ++i) {
    // The run that fewest patterns share singles this one out best: the identifier and not the word
    // before it.
    const auto rarest =
        std::ranges::min_element(runs_of[i], [&](const std::string& a, const std::string& b) {
          return std::pair(shared_by[a], b.size()) < std::pair(shared_by[b], a.size());
        });
    if (rarest == runs_of[i].end()) {
      without_run_.push_back(std::move(patterns[i]));
      continue;
    }
    const auto [at, is_new] = known.emplace(*rarest, runs.size());
    if (is_new) {
      runs.push_back(*rarest);
      by_run_.emplace_back();
    }
    by_run_[at->second].push_back(std::move(patterns[i]));
  }
  runs_ = WordFinder(runs);
}

bool PatternSet::Matches(std::string_view key) const {
  const auto matches = [key](const std::string& pattern) { return GlobMatch(pattern, key); };
  return std::ranges::any_of(without_run_, matches) ||
         runs_.AnyIn(key, [&](size_t run) { return std::ranges::any_of(by_run_[run], matches); });
}

std::string PatternSet::CommonPattern(const std::vector<std::string>& patterns) {
  if (patterns.size() == 1) return patterns.front();
  if (patterns.empty()) return "";
  std::string common = LiteralPrefix(patterns.front());
  for (const std::string& pattern : patterns) {
    const std::string prefix = LiteralPrefix(pattern);
    const auto differ = std::ranges::mismatch(common, prefix);
    common.erase(differ.in1, common.end());
  }
  return EscapeGlob(common) + "*";
}

}  // namespace apex::redis
