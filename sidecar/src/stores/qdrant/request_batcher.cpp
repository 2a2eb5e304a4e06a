#include "stores/qdrant/request_batcher.h"

#include <utility>

namespace apex::qdrant {

Result<std::optional<::qdrant::UpdateBatchPoints>> RequestBatcher::Next() {
  // Tag and length of a repeated member.
  constexpr size_t kMemberOverhead = 6;
  std::optional<::qdrant::UpdateBatchPoints> request;
  size_t bytes = 0;
  while (!request || request->operations_size() < kRequestOperationsMax) {
    if (!left_over_) {
      auto next = source_();
      if (!next.ok()) return next.error();
      if (!*next) break;
      left_over_ = std::move(**next);
    }
    const size_t size = left_over_->operation.ByteSizeLong() + kMemberOverhead;
    if (request &&
        (bytes + size > kRequestBytesMax || left_over_->collection != request->collection_name())) {
      break;
    }
    if (!request) {
      request.emplace();
      request->set_collection_name(left_over_->collection);
      request->set_wait(true);
    }
    bytes += size;
    request->add_operations()->Swap(&left_over_->operation);
    left_over_.reset();
  }
  return request;
}

}  // namespace apex::qdrant
