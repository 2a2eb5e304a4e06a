// Cuts a stream of operations into requests that Qdrant takes: bounded in bytes and in operations,
// one collection each.
//
// Not thread-safe; remembers the operation that did not fit into the request before.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "stores/qdrant/client.h"

namespace apex::qdrant {

/// Well under the 5 MB that proxies and managed Qdrant allow.
inline constexpr size_t kRequestBytesMax = 4 << 20;
/// Keeps one request short enough for several to share the store, measured best between 200 and
/// 500.
inline constexpr int kRequestOperationsMax = 250;

/// An encoded PointsUpdateOperation and the collection it is for.
struct Addressed {
  std::string_view collection;
  std::string_view operation;
};

class RequestBatcher {
 public:
  /// Yields the next operation, nullopt at the end, or an error. What it yields stays valid until
  /// it is asked again.
  using Source = std::function<Result<std::optional<Addressed>>()>;

  explicit RequestBatcher(Source source) : source_(std::move(source)) {}

  /// The next request with wait set, or nullopt when the source is at its end. An operation larger
  /// than kRequestBytesMax goes alone: whether it is too large is the store's to say. Ask no
  /// further after an error.
  Result<std::optional<UpdateRequest>> Next();

 private:
  Source source_;
  std::optional<Addressed> left_over_;
  size_t last_bytes_ = 0;  ///< Of the request before: the next one is likely to be as large.
};

}  // namespace apex::qdrant
