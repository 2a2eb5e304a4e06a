// Commands in Redis's wire format, one after the other in one string.
//
// Each says which of its arguments is a key, so that a cluster's client knows where it has to go. A
// command with several keys names the first; all of them are of one slot. Not thread-safe; a value.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace apex::redis {

class Commands {
 public:
  /// No argument is a key, and any server can answer. The command's own name is argument 0.
  static constexpr size_t kNoKey = 0;

  Commands() = default;
  /// Commands without keys.
  Commands(std::initializer_list<std::initializer_list<std::string_view>> commands) {
    for (const auto& command : commands) Add(command);
  }

  /// `key_at`: which argument is the key.
  void Add(std::initializer_list<std::string_view> command, size_t key_at = kNoKey) {
    Begin(command.size(), key_at);
    for (const std::string_view argument : command) Argument(argument);
  }

  /// Starts a command; as many calls of Argument follow.
  void Begin(size_t arguments, size_t key_at = kNoKey) {
    commands_.push_back({.start = bytes_.size()});
    key_at_ = key_at;
    arguments_ = 0;
    Number('*', arguments);
  }
  void Argument(std::string_view argument) {
    Number('$', argument.size());
    if (arguments_ == key_at_ && key_at_ != kNoKey) {
      commands_.back().key_start = bytes_.size();
      commands_.back().key_size = argument.size();
    }
    ++arguments_;
    bytes_.append(argument).append("\r\n");
  }

  void Append(const Commands& others) {
    bytes_.reserve(bytes_.size() + others.bytes_.size());
    for (size_t i = 0; i < others.size(); ++i) Append(others, i);
  }
  /// One command of `others`.
  void Append(const Commands& others, size_t index) {
    Command command = others.commands_[index];
    const size_t start = command.start;
    if (command.key_start > 0) command.key_start += bytes_.size() - start;
    command.start = bytes_.size();
    commands_.push_back(command);
    bytes_.append(others.bytes_, start, others.start(index + 1) - start);
  }

  size_t size() const { return commands_.size(); }
  bool empty() const { return commands_.empty(); }
  /// Where the command begins in bytes(); of one past the last, where they end.
  size_t start(size_t command) const {
    return command == commands_.size() ? bytes_.size() : commands_[command].start;
  }
  std::string_view bytes() const { return bytes_; }
  std::optional<std::string_view> key(size_t command) const {
    const Command& it = commands_[command];
    if (it.key_start == 0) return std::nullopt;
    return std::string_view(bytes_).substr(it.key_start, it.key_size);
  }

 private:
  struct Command {
    size_t start = 0;
    size_t key_start = 0;  ///< 0: it names no key.
    size_t key_size = 0;
  };

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
  std::vector<Command> commands_;
  size_t key_at_ = kNoKey;  ///< Of the command that is being written, as is what follows.
  size_t arguments_ = 0;
};

}  // namespace apex::redis
