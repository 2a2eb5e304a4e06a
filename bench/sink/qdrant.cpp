#include "qdrant.h"

#include <grpcpp/grpcpp.h>

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "qdrant.grpc.pb.h"

namespace apex::sink {
namespace {

namespace api = ::qdrant;

/// A version with the conditional updates that the sidecar relies on.
constexpr const char* kVersion = "1.17.0";
constexpr uint32_t kOperationsField = 3;
constexpr int64_t kNewest = int64_t{1} << 53;

uint64_t Varint(const uint8_t*& at, const uint8_t* end) {
  uint64_t value = 0;
  for (int shift = 0; at < end && shift < 64; shift += 7) {
    const uint8_t byte = *at++;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

/// The operations of an UpdateBatchPoints, counted without decoding them, which would cost more
/// than everything else here.
int CountOperations(const grpc::Slice& request) {
  const uint8_t* at = request.begin();
  int count = 0;
  while (at < request.end()) {
    const uint64_t tag = Varint(at, request.end());
    const uint64_t number = Varint(at, request.end());
    if ((tag >> 3) == kOperationsField) ++count;
    const bool has_length = (tag & 7) == 2;
    at += has_length ? std::min<uint64_t>(number, static_cast<uint64_t>(request.end() - at)) : 0;
  }
  return count;
}

class Health final : public api::Qdrant::Service {
  grpc::Status HealthCheck(grpc::ServerContext* /*context*/,
                           const api::HealthCheckRequest* /*request*/,
                           api::HealthCheckReply* reply) override {
    reply->set_version(kVersion);
    return grpc::Status::OK;
  }
};

class Collections final : public api::Collections::Service {
  grpc::Status Get(grpc::ServerContext* /*context*/, const api::GetCollectionInfoRequest* request,
                   api::GetCollectionInfoResponse* response) override {
    const std::lock_guard lock(mutex_);
    const auto found = created_.find(request->collection_name());
    if (found == created_.end()) return {grpc::StatusCode::NOT_FOUND, "no such collection"};
    *response->mutable_result()->mutable_config()->mutable_params()->mutable_vectors_config() =
        found->second.vectors_config();
    return grpc::Status::OK;
  }
  grpc::Status Create(grpc::ServerContext* /*context*/, const api::CreateCollection* request,
                      api::CollectionOperationResponse* response) override {
    const std::lock_guard lock(mutex_);
    created_[request->collection_name()] = *request;
    response->set_result(true);
    return grpc::Status::OK;
  }

  std::mutex mutex_;
  std::map<std::string, api::CreateCollection> created_;
};

class Points final : public api::Points::WithRawCallbackMethod_UpdateBatch<api::Points::Service> {
  grpc::ServerUnaryReactor* UpdateBatch(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override {
    grpc::Slice bytes;
    grpc::Status status = request->DumpToSingleSlice(&bytes);
    api::UpdateBatchResponse answer;
    for (int left = CountOperations(bytes); left > 0; --left) {
      answer.add_result()->set_status(api::Completed);
    }
    const grpc::Slice text(answer.SerializeAsString());
    *response = grpc::ByteBuffer(&text, 1);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }
  /// Whoever asks for a point's version finds a newer one than any that was sent.
  grpc::Status Get(grpc::ServerContext* /*context*/, const api::GetPoints* request,
                   api::GetResponse* response) override {
    for (const api::PointId& id : request->ids()) {
      api::RetrievedPoint& point = *response->add_result();
      *point.mutable_id() = id;
      (*point.mutable_payload())["_apex_seq"].set_integer_value(kNewest);
    }
    return grpc::Status::OK;
  }
  grpc::Status CreateFieldIndex(grpc::ServerContext* /*context*/,
                                const api::CreateFieldIndexCollection* /*request*/,
                                api::PointsOperationResponse* response) override {
    response->mutable_result()->set_status(api::Completed);
    return grpc::Status::OK;
  }
};

}  // namespace

struct Qdrant::Impl {
  Health health;
  Collections collections;
  Points points;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

Qdrant::Qdrant() : impl_(std::make_unique<Impl>()) {
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &impl_->port);
  builder.RegisterService(&impl_->health);
  builder.RegisterService(&impl_->collections);
  builder.RegisterService(&impl_->points);
  impl_->server = builder.BuildAndStart();
  if (!impl_->server) throw std::runtime_error("cannot listen for gRPC");
}

Qdrant::~Qdrant() = default;

int Qdrant::port() const { return impl_->port; }

}  // namespace apex::sink
