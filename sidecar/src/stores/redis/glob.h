// Redis's glob patterns on the client's side, so that one SCAN pass serves many patterns.
//
// Pure; a PatternSet is immutable after construction and safe to share.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "stores/redis/word_finder.h"

namespace apex::redis {

/// True when `text` holds a character that means something in a pattern.
bool HasGlobCharacter(std::string_view text);

/// `text` as a pattern that matches itself and nothing else.
std::string EscapeGlob(std::string_view text);

/// Exactly what Redis decides for SCAN's MATCH, for unclosed classes and reversed ranges too.
bool GlobMatch(std::string_view pattern, std::string_view text);

/// Matches a key against thousands of patterns in about the time of one: each pattern is found by a
/// run of ordinary characters that every key it matches must contain, and only then compared whole.
class PatternSet {
 public:
  explicit PatternSet(std::vector<std::string> patterns);

  bool Matches(std::string_view key) const;

  /// A pattern for SCAN that every key of interest matches: the only pattern, or the common
  /// beginning of all.
  const std::string& ScanPattern() const { return scan_pattern_; }
  /// Whether every key that it finds is of interest.
  bool ScansExactly() const { return scans_exactly_; }

 private:
  static std::string CommonPattern(const std::vector<std::string>& patterns);

  std::string scan_pattern_;
  bool scans_exactly_;
  std::vector<std::string> without_run_;
  WordFinder runs_;
  std::vector<std::vector<std::string>> by_run_;  ///< Patterns by one of their runs.
};

}  // namespace apex::redis
