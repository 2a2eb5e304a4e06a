// A row's image as the outbox holds it, opened once: its columns by name, their values left as JSON
// text.
//
// Text is spliced and never converted, so that 64-bit integers, numbers of any precision and
// unicode come through exactly. Immutable; owns its text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace apex::redis {

class Image {
 public:
  /// nullopt: the text is no JSON object.
  static std::optional<Image> Parse(std::string_view text);

  /// The value's JSON text; nullopt when the image has no such column.
  std::optional<std::string_view> Find(std::string_view column) const;

 private:
  struct Field {
    std::string name;
    size_t begin;
    size_t size;
  };

  std::string text_;
  std::vector<Field> fields_;
};

/// A JSON value as plain text: a string's content, null as nullopt, everything else as it is
/// written.
std::optional<std::string> PlainText(std::string_view json);

}  // namespace apex::redis
