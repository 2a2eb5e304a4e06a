// A row's image, column by column, as Neo4j values: section 3a of the design.
//
// An ImageEncoder keeps a parser and its buffers between rows; one thread uses it. Encoded values
// are PackStream bytes, so that a statement's parameters are put together without decoding anything
// again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/mapping.h"
#include "core/result.h"

namespace apex::neo4j {

/// The wanted columns of one image, in the order they were wanted.
class EncodedImage {
 public:
  explicit EncodedImage(size_t columns) : ranges_(columns) {}

  /// The encoded value; empty when the column is NULL or not in the image.
  std::string_view operator[](size_t column) const {
    return std::string_view(bytes_).substr(ranges_[column].begin,
                                           ranges_[column].end - ranges_[column].begin);
  }
  /// Appends the encoded value, or an encoded null.
  void AppendTo(std::string& out, size_t column) const;

 private:
  friend class ImageEncoder;
  struct Range {
    size_t begin = 0;
    size_t end = 0;
  };
  std::string bytes_;
  std::vector<Range> ranges_;
};

/// Whose image it is, for the message of an error.
struct RowName {
  std::string_view table;
  std::string_view key;
};

class ImageEncoder {
 public:
  ImageEncoder();
  ~ImageEncoder();

  /// How DateTime is written from now on, see packstream::Writer::DateTimeUtc.
  void set_utc_datetimes(bool utc);

  /// `image` is an object of columns. The error is permanent, kUnencodable, and names column and
  /// row.
  Result<EncodedImage> Encode(std::string_view image, std::span<const Column> wanted, RowName row);

  /// `key` is the outbox's array of key values; `wanted` names them in the same order.
  Result<EncodedImage> EncodeKey(std::string_view key, std::span<const Column> wanted, RowName row);

 private:
  class Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace apex::neo4j
