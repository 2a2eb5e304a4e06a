// Commands in Redis's wire format, one after the other in one string.
//
// Not thread-safe; a value.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace apex::redis {

class Commands {
 public:
  Commands() = default;
  Commands(std::initializer_list<std::initializer_list<std::string_view>> commands) {
    for (const auto& command : commands) Add(command);
  }

  void Add(std::initializer_list<std::string_view> command) {
    Begin(command.size());
    for (const std::string_view argument : command) Argument(argument);
  }

  /// Starts a command; as many calls of Argument follow.
  void Begin(size_t arguments) {
    starts_.push_back(bytes_.size());
    Number('*', arguments);
  }
  void Argument(std::string_view argument) {
    Number('$', argument.size());
    bytes_.append(argument).append("\r\n");
  }

  void Append(const Commands& others) {
    bytes_.reserve(bytes_.size() + others.bytes_.size());
    for (const size_t start : others.starts_) starts_.push_back(bytes_.size() + start);
    bytes_.append(others.bytes_);
  }

  size_t size() const { return starts_.size(); }
  bool empty() const { return starts_.empty(); }
  /// Where the command begins in bytes(); of one past the last, where they end.
  size_t start(size_t command) const {
    return command == starts_.size() ? bytes_.size() : starts_[command];
  }
  std::string_view bytes() const { return bytes_; }

 private:
  void Number(char type, size_t number) {
    // The type, as many digits as a number has at most, and the end of the line.
    std::array<char, 24> line;
    line[0] = type;
    char* end = std::to_chars(line.data() + 1, line.data() + line.size(), number).ptr;
    *end++ = '\r';
    *end++ = '\n';
    bytes_.append(line.data(), end);
  }

  std::string bytes_;
  std::vector<size_t> starts_;
};

}  // namespace apex::redis
