// How far something has come, on a terminal.
#pragma once

#include <cstdint>
#include <string>

namespace apex::cli {

/// A bar, a percentage and the two numbers.
std::string ProgressBar(int64_t done, int64_t expected);

/// One line that is written over and over, on a terminal alone.
class ProgressLine {
 public:
  ProgressLine();
  void Show(const std::string& text) const;
  void End() const;

 private:
  bool is_terminal_;
};

}  // namespace apex::cli
