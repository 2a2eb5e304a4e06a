// Redis's glob patterns on the client's side, so that one SCAN pass serves many patterns.
//
// Pure; a PatternSet is immutable after construction and safe to share.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace apex::redis {

/// True when `text` holds a character that means something in a pattern.
bool HasGlobCharacter(std::string_view text);

/// `text` as a pattern that matches itself and nothing else.
std::string EscapeGlob(std::string_view text);

/// Exactly what Redis decides for SCAN's MATCH, for unclosed classes and reversed ranges too.
bool GlobMatch(std::string_view pattern, std::string_view text);

/// Matches a key against thousands of patterns in about the time of a few: each pattern is found by
/// a run of ordinary characters that every key it matches must contain, and only then compared
/// whole.
class PatternSet {
 public:
  explicit PatternSet(std::vector<std::string> patterns);

  bool Matches(std::string_view key) const;

  /// A pattern for SCAN that every key of interest matches: the only pattern, or the common
  /// beginning of all.
  const std::string& ScanPattern() const { return scan_pattern_; }

 private:
  struct Hash : std::hash<std::string_view> {
    // NOLINTNEXTLINE(readability-identifier-naming): the standard library asks for this name.
    using is_transparent = void;
  };
  using ByRun = std::unordered_map<std::string, std::vector<size_t>, Hash, std::equal_to<>>;

  static std::string CommonPattern(const std::vector<std::string>& patterns);

  std::vector<std::string> patterns_;
  std::string scan_pattern_;
  /// Patterns by one of their runs, in one table a run length.
  std::map<size_t, ByRun> by_run_length_;
  std::vector<size_t> without_run_;
};

}  // namespace apex::redis
