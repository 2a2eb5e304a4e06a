// A row's image as the outbox holds it, opened once: its columns by name, their values left as JSON
// text.
//
// Text is spliced and never converted, so that 64-bit integers, numbers of any precision and
// unicode come through exactly. Owns its text; Read opens another one in its place and keeps the
// buffers. One thread uses it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace apex::redis {

class Image {
 public:
  /// False: the text is no JSON object, and the image is not to be used until the next Read.
  bool Read(std::string_view text);

  /// The value's JSON text; nullopt when the image has no such column.
  std::optional<std::string_view> Find(std::string_view column) const;

  /// Of its text.
  size_t size() const { return text_.size(); }

 private:
  struct Range {
    size_t begin;
    size_t size;
  };
  struct Field {
    Range name;   ///< In names_.
    Range value;  ///< In text_.
  };

  std::string text_;
  std::string names_;
  std::vector<Field> fields_;
};

/// Appends a JSON value as plain text: a string's content, everything else as it is written. False:
/// it is null, and nothing was appended.
bool AppendPlainText(std::string_view json, std::string& out);

}  // namespace apex::redis
