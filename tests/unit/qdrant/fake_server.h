// Qdrant's gRPC service with answers made for a test.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "qdrant.grpc.pb.h"
#include "stores/qdrant/client.h"

namespace apex::qdrant {

using Answer = std::function<grpc::Status(grpc::ServerContext*, const ::qdrant::UpdateBatchPoints&,
                                          ::qdrant::UpdateBatchResponse*)>;
using Lookup = std::function<grpc::Status(const ::qdrant::GetPoints&, ::qdrant::GetResponse*)>;

class FakePoints final : public ::qdrant::Points::Service {
 public:
  FakePoints(Answer answer, Lookup lookup)
      : answer_(std::move(answer)), lookup_(std::move(lookup)) {}

  grpc::Status UpdateBatch(grpc::ServerContext* context, const ::qdrant::UpdateBatchPoints* request,
                           ::qdrant::UpdateBatchResponse* response) override {
    return answer_(context, *request, response);
  }

  grpc::Status Get(grpc::ServerContext*, const ::qdrant::GetPoints* request,
                   ::qdrant::GetResponse* response) override {
    return lookup_(*request, response);
  }

 private:
  Answer answer_;
  Lookup lookup_;
};

/// Listens on loopback while it lives. Without `lookup` nothing may be looked up.
class FakeServer {
 public:
  explicit FakeServer(
      Answer answer, Lookup lookup = nullptr,
      std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials())
      : points_(std::move(answer), std::move(lookup)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", std::move(credentials), &port_);
    builder.RegisterService(&points_);
    server_ = builder.BuildAndStart();
  }
  ~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

  int port() const { return port_; }
  ClientOptions options() const { return {"http://127.0.0.1:" + std::to_string(port_), "the-key"}; }

 private:
  FakePoints points_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

inline grpc::Status Complete(const ::qdrant::UpdateBatchPoints& request,
                             ::qdrant::UpdateBatchResponse* response) {
  for (int i = 0; i < request.operations_size(); ++i) {
    response->add_result()->set_status(::qdrant::Completed);
  }
  return grpc::Status::OK;
}

}  // namespace apex::qdrant
