// Commands in Redis's wire format, one after the other in one string.
//
// Not thread-safe; a value.
#pragma once

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
    bytes_.push_back(type);
    bytes_.append(std::to_string(number)).append("\r\n");
  }

  std::string bytes_;
  std::vector<size_t> starts_;
};

}  // namespace apex::redis
