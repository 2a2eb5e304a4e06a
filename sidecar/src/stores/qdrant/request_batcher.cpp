#include "stores/qdrant/request_batcher.h"

#include "qdrant.pb.h"
#include "stores/qdrant/wire.h"

namespace apex::qdrant {

Result<std::optional<UpdateRequest>> RequestBatcher::Next() {
  using Message = ::qdrant::UpdateBatchPoints;
  std::optional<UpdateRequest> request;
  std::string_view collection;
  while (!request || request->operations < kRequestOperationsMax) {
    if (!left_over_) {
      auto next = source_();
      if (!next.ok()) return next.error();
      if (!*next) break;
      left_over_ = **next;
    }
    const size_t size =
        wire::FieldSize(Message::kOperationsFieldNumber, left_over_->operation.size());
    if (request &&
        (request->bytes.size() + size > kRequestBytesMax || left_over_->collection != collection)) {
      break;
    }
    if (!request) {
      request.emplace();
      request->bytes.reserve(last_bytes_);
      collection = left_over_->collection;
      wire::Writer start(request->bytes);
      start.Bytes(Message::kCollectionNameFieldNumber, collection);
      start.Varint(Message::kWaitFieldNumber, 1);
    }
    wire::Writer(request->bytes).Bytes(Message::kOperationsFieldNumber, left_over_->operation);
    ++request->operations;
    left_over_.reset();
  }
  if (request) last_bytes_ = request->bytes.size();
  return request;
}

}  // namespace apex::qdrant
