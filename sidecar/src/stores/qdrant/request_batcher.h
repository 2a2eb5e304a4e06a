// Cuts a stream of operations into requests that Qdrant takes: bounded in bytes and in operations,
// one collection each.
//
// Not thread-safe; owns the operation that did not fit into the request before.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "core/result.h"
#include "qdrant.pb.h"

namespace apex::qdrant {

/// Well under the 5 MB that proxies and managed Qdrant allow.
inline constexpr size_t kRequestBytesMax = 4 << 20;
/// Keeps one request short enough for several to share the store, measured best between 200 and
/// 500.
inline constexpr int kRequestOperationsMax = 250;

/// An operation and the collection it is for.
struct Addressed {
  std::string collection;
  ::qdrant::PointsUpdateOperation operation;
};

class RequestBatcher {
 public:
  /// Yields the next operation, nullopt at the end, or an error.
  using Source = std::function<Result<std::optional<Addressed>>()>;

  explicit RequestBatcher(Source source) : source_(std::move(source)) {}

  /// The next request with wait set, or nullopt when the source is at its end. An operation larger
  /// than kRequestBytesMax goes alone: whether it is too large is the store's to say. Ask no
  /// further after an error.
  Result<std::optional<::qdrant::UpdateBatchPoints>> Next();

 private:
  Source source_;
  std::optional<Addressed> left_over_;
};

}  // namespace apex::qdrant
