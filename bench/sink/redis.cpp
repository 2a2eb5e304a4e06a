#include "redis.h"

#include <charconv>
#include <optional>

namespace apex::sink {
namespace {

/// Reads commands, arrays of bulk strings, out of what has come so far.
class Reader {
 public:
  explicit Reader(std::string_view input) : input_(input) {}

  /// The command's name; nullopt: it has not come whole.
  std::optional<std::string_view> Command() {
    const size_t start = at_;
    const std::optional<size_t> arguments = Number('*');
    std::optional<std::string_view> name;
    for (size_t i = 0; arguments && i < *arguments; ++i) {
      const std::optional<size_t> size = Number('$');
      if (!size || input_.size() - at_ < *size + 2) return Rewind(start);
      if (i == 0) name = input_.substr(at_, *size);
      at_ += *size + 2;
    }
    return name ? name : Rewind(start);
  }

  size_t read() const { return at_; }

 private:
  std::nullopt_t Rewind(size_t start) {
    at_ = start;
    return std::nullopt;
  }

  /// The number between `type` and the end of the line.
  std::optional<size_t> Number(char type) {
    const size_t end = input_.find('\r', at_);
    if (end == std::string_view::npos || end + 2 > input_.size() || input_[at_] != type) {
      return std::nullopt;
    }
    size_t number = 0;
    std::from_chars(input_.data() + at_ + 1, input_.data() + end, number);
    at_ = end + 2;
    return number;
  }

  std::string_view input_;
  size_t at_ = 0;
};

std::string_view AnswerTo(std::string_view name) {
  if (name == "EVALSHA" || name == "UNLINK") return ":1\r\n";
  if (name == "PUBLISH") return ":0\r\n";
  if (name == "SCAN") return "*2\r\n$1\r\n0\r\n*0\r\n";
  if (name == "PING") return "+PONG\r\n";
  return "+OK\r\n";
}

}  // namespace

void ServeRedis(Peer& peer) {
  std::string input;
  while (peer.Receive(input)) {
    std::string answers;
    Reader reader(input);
    while (const auto name = reader.Command()) answers += AnswerTo(*name);
    input.erase(0, reader.read());
    if (!peer.Send(answers)) return;
  }
}

}  // namespace apex::sink
