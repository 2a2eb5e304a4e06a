#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

namespace apex::cli {
namespace {

constexpr int kBarWidth = 40;

}  // namespace

std::string ProgressBar(int64_t done, int64_t expected) {
  const double share =
      expected == 0 ? 1 : static_cast<double>(done) / static_cast<double>(expected);
  const auto filled = static_cast<int>(share * kBarWidth);
  return fmt::format("[{:<{}}] {:3.0f} %  {} of {} rows", std::string(filled, '#'), kBarWidth,
                     share * 100, done, expected);
}

ProgressLine::ProgressLine() : is_terminal_(isatty(STDOUT_FILENO) == 1) {}

void ProgressLine::Show(const std::string& text) const {
  if (is_terminal_) std::cout << "\r" << text << "\x1b[K" << std::flush;
}

void ProgressLine::End() const {
  if (is_terminal_) std::cout << "\n";
}

}  // namespace apex::cli
