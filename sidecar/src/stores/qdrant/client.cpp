#include "stores/qdrant/client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/uri.h"
#include "qdrant.grpc.pb.h"
#include "stores/qdrant/classify.h"

namespace apex::qdrant {
namespace {

constexpr int kReconnectFirstMs = 100;
constexpr int kReconnectMaxMs = 2000;
constexpr int kKeepaliveMs = 30000;
constexpr int kKeepaliveTimeoutMs = 10000;
constexpr uint16_t kDefaultPort = 6334;

struct Target {
  std::string address;
  bool tls = false;
};

std::optional<Target> ParseTarget(std::string_view text) {
  const std::optional<Uri> uri = ParseUri(text);
  if (!uri || (uri->scheme != "http" && uri->scheme != "https")) return std::nullopt;
  const bool is_ipv6 = uri->host.find(':') != std::string::npos;
  Target target;
  target.address = is_ipv6 ? "[" + uri->host + "]" : uri->host;
  target.address += ":" + std::to_string(uri->port.value_or(kDefaultPort));
  target.tls = uri->scheme == "https";
  return target;
}

/// The issuers of SSL_CERT_FILE in place of the system's, as OpenSSL does for the other stores;
/// gRPC alone does not look there.
grpc::SslCredentialsOptions Trusted() {
  grpc::SslCredentialsOptions options;
  const char* path = std::getenv("SSL_CERT_FILE");
  if (path == nullptr) return options;
  const std::ifstream file(path);
  std::ostringstream certificates;
  certificates << file.rdbuf();
  options.pem_root_certs = certificates.str();
  return options;
}

std::shared_ptr<grpc::Channel> MakeChannel(const Target& target) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // gRPC waits up to two minutes between attempts by default; a store that is back is wanted
  // sooner.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectFirstMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // A store is reached directly, whatever proxy the environment names for the web.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto credentials =
      target.tls ? grpc::SslCredentials(Trusted()) : grpc::InsecureChannelCredentials();
  return grpc::CreateCustomChannel(target.address, credentials, arguments);
}

std::optional<std::chrono::milliseconds> RetryAfter(const grpc::ClientContext& context) {
  // A refusal without a body carries it as the one block of headers that it has.
  for (const auto* metadata :
       {&context.GetServerTrailingMetadata(), &context.GetServerInitialMetadata()}) {
    const auto found = metadata->find("retry-after");
    if (found != metadata->end())
      return ParseRetryAfter({found->second.data(), found->second.size()});
  }
  return std::nullopt;
}

StoreError MakeError(std::string_view operation, ErrorKind kind, std::string_view code,
                     std::string message) {
  StoreError error;
  error.store = Store::kQdrant;
  error.operation = operation;
  error.kind = kind;
  error.native_code = code;
  error.message = std::move(message);
  return error;
}

StoreError FromStatus(std::string_view operation, const grpc::Status& status,
                      const grpc::ClientContext& context) {
  StoreError error = MakeError(operation, Classify(status), StatusName(status.error_code()),
                               status.error_message());
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED)
    error.retry_after = RetryAfter(context);
  return error;
}

/// An acknowledgement is not proof: WaitTimeout, Acknowledged and ClockRejected come with an OK
/// status.
Status CheckCompleted(const ::qdrant::UpdateResult& result, std::string_view operation) {
  if (result.status() == ::qdrant::Completed) return {};
  return MakeError(
      operation, ErrorKind::kUnknownOutcome, "apex.not_completed",
      "answered " + ::qdrant::UpdateStatus_Name(result.status()) + " instead of Completed");
}

Status CheckBatch(const ::qdrant::UpdateBatchResponse& response, int operations) {
  if (response.result_size() != operations) {
    return MakeError("update", ErrorKind::kUnknownOutcome, "apex.not_completed",
                     "answered for " + std::to_string(response.result_size()) + " of " +
                         std::to_string(operations) + " operations");
  }
  for (const auto& result : response.result()) {
    if (Status status = CheckCompleted(result, "update"); !status.ok()) return status;
  }
  return {};
}

int Severity(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kTransient: return 0;
    case ErrorKind::kUnknownOutcome: return 1;
    case ErrorKind::kPermanent: return 2;
  }
  return 0;
}

/// The failure to report of several: permanent before unknown before transient, the first of its
/// kind.
void KeepWorse(StoreError error, std::optional<StoreError>* kept) {
  if (!*kept || Severity(error.kind) > Severity((*kept)->kind)) *kept = std::move(error);
}

constexpr const char* kUpdateBatch = "/qdrant.Points/UpdateBatch";
/// Sends bytes as they are and decodes the answer.
using UpdateStub = grpc::TemplatedGenericStub<grpc::ByteBuffer, ::qdrant::UpdateBatchResponse>;

/// Hands the bytes over without copying them.
grpc::ByteBuffer ToBuffer(std::string bytes) {
  auto* kept = new std::string(std::move(bytes));  // Owned by the slice.
  const auto release = [](void* owned) { delete static_cast<std::string*>(owned); };
  const grpc::Slice slice(kept->data(), kept->size(), release, kept);
  return {&slice, 1};
}

/// One update request on its way.
struct InFlight {
  grpc::ClientContext context;
  ::qdrant::UpdateBatchResponse response;
  grpc::Status status;
  int operations = 0;
  std::unique_ptr<grpc::ClientAsyncResponseReader<::qdrant::UpdateBatchResponse>> reader;
};

}  // namespace

struct Client::Impl {
  explicit Impl(ClientOptions given) : options(std::move(given)) {
    const std::optional<Target> target = ParseTarget(options.uri);
    if (!target) return;
    const std::shared_ptr<grpc::Channel> channel = MakeChannel(*target);
    qdrant = ::qdrant::Qdrant::NewStub(channel);
    collections = ::qdrant::Collections::NewStub(channel);
    points = ::qdrant::Points::NewStub(channel);
    updates = std::make_unique<UpdateStub>(channel);
  }

  Status CheckUri() const {
    if (qdrant) return {};
    return MakeError("connect", ErrorKind::kPermanent, "apex.uri",
                     "the address of Qdrant must read http://host:port or https://host:port");
  }

  void Start(Deadline deadline, grpc::ClientContext* context) const {
    context->set_deadline(std::chrono::system_clock::now() + deadline.remaining());
    if (!options.api_key.empty()) context->AddMetadata("api-key", options.api_key);
  }

  template <typename Stub, typename Request, typename Response>
  Result<Response> Call(std::string_view operation, const std::unique_ptr<Stub>& stub,
                        grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                     Response*),
                        const Request& request, Deadline deadline) {
    if (Status usable = CheckUri(); !usable.ok()) return usable.error();
    grpc::ClientContext context;
    Start(deadline, &context);
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return FromStatus(operation, status, context);
    return response;
  }

  void Send(UpdateRequest request, Deadline deadline, grpc::CompletionQueue* queue) {
    auto* call = new InFlight;  // Owned by the queue until Receive takes it back.
    Start(deadline, &call->context);
    call->operations = request.operations;
    call->reader = updates->PrepareUnaryCall(&call->context, kUpdateBatch,
                                             ToBuffer(std::move(request.bytes)), queue);
    call->reader->StartCall();
    call->reader->Finish(&call->response, &call->status, call);
  }

  /// Waits for one answer. Every call ends by its deadline, so this does too.
  static Status Receive(grpc::CompletionQueue* queue) {
    void* tag = nullptr;
    bool ok = false;
    queue->Next(&tag, &ok);
    const std::unique_ptr<InFlight> call(static_cast<InFlight*>(tag));
    if (!call->status.ok()) {
      StoreError error = FromStatus("update", call->status, call->context);
      // A write limit stops a request midway. Sent again as it is, it would spend what the limit
      // gives on what has been applied already; of an unknown outcome, it comes in smaller parts.
      const bool is_limit = call->status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
      if (is_limit && error.kind == ErrorKind::kTransient) error.kind = ErrorKind::kUnknownOutcome;
      return error;
    }
    return CheckBatch(call->response, call->operations);
  }

  /// gRPC wants a queue to be seen empty before it goes.
  static void Drain(grpc::CompletionQueue* queue) {
    void* tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok)) {
    }
  }

  ClientOptions options;
  std::unique_ptr<::qdrant::Qdrant::Stub> qdrant;
  std::unique_ptr<::qdrant::Collections::Stub> collections;
  std::unique_ptr<::qdrant::Points::Stub> points;
  std::unique_ptr<UpdateStub> updates;
};

Client::Client(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Client::~Client() = default;

Result<::qdrant::HealthCheckReply> Client::HealthCheck(Deadline deadline) {
  return impl_->Call("health check", impl_->qdrant, &::qdrant::Qdrant::Stub::HealthCheck,
                     ::qdrant::HealthCheckRequest(), deadline);
}

Result<std::optional<::qdrant::CollectionInfo>> Client::GetCollection(const std::string& name,
                                                                      Deadline deadline) {
  ::qdrant::GetCollectionInfoRequest request;
  request.set_collection_name(name);
  auto response = impl_->Call("get collection", impl_->collections,
                              &::qdrant::Collections::Stub::Get, request, deadline);
  if (response.ok()) return std::optional(std::move(*response->mutable_result()));
  if (response.error().native_code == StatusName(grpc::StatusCode::NOT_FOUND)) {
    return std::optional<::qdrant::CollectionInfo>();
  }
  return response.error();
}

Status Client::CreateCollection(const ::qdrant::CreateCollection& request, Deadline deadline) {
  auto response = impl_->Call("create collection", impl_->collections,
                              &::qdrant::Collections::Stub::Create, request, deadline);
  if (response.ok() || response.error().native_code == StatusName(grpc::StatusCode::ALREADY_EXISTS))
    return {};
  return response.error();
}

Status Client::DeleteCollection(const std::string& name, Deadline deadline) {
  ::qdrant::DeleteCollection request;
  request.set_collection_name(name);
  auto response = impl_->Call("delete collection", impl_->collections,
                              &::qdrant::Collections::Stub::Delete, request, deadline);
  if (response.ok()) return {};
  return response.error();
}

Status Client::CreateIntegerIndex(const std::string& collection, const std::string& field,
                                  Deadline deadline) {
  constexpr std::string_view kOperation = "create payload index";
  ::qdrant::CreateFieldIndexCollection request;
  request.set_collection_name(collection);
  request.set_wait(true);
  request.set_field_name(field);
  request.set_field_type(::qdrant::FieldTypeInteger);
  auto response = impl_->Call(kOperation, impl_->points, &::qdrant::Points::Stub::CreateFieldIndex,
                              request, deadline);
  if (!response.ok()) return response.error();
  return CheckCompleted(response->result(), kOperation);
}

Result<::qdrant::GetResponse> Client::GetPoints(const ::qdrant::GetPoints& request,
                                                Deadline deadline) {
  return impl_->Call("get points", impl_->points, &::qdrant::Points::Stub::Get, request, deadline);
}

Result<std::optional<::qdrant::ScrollResponse>> Client::ScrollPoints(
    const ::qdrant::ScrollPoints& request, Deadline deadline) {
  auto response = impl_->Call("scroll points", impl_->points, &::qdrant::Points::Stub::Scroll,
                              request, deadline);
  if (response.ok()) return std::optional(*std::move(response));
  if (response.error().native_code == StatusName(grpc::StatusCode::NOT_FOUND)) {
    return std::optional<::qdrant::ScrollResponse>();
  }
  return response.error();
}

Status Client::UpdateAll(const Requests& requests, Deadline deadline) {
  if (Status usable = impl_->CheckUri(); !usable.ok()) return usable;
  grpc::CompletionQueue queue;
  std::optional<StoreError> failure;
  bool more = true;
  int in_flight = 0;
  while (more || in_flight > 0) {
    if (more && in_flight < kRequestsInFlightMax) {
      auto request = requests();
      if (!request.ok()) KeepWorse(request.error(), &failure);
      more = request.ok() && request->has_value() && !failure;
      if (!more) continue;
      impl_->Send(**std::move(request), deadline, &queue);
      ++in_flight;
      continue;
    }
    if (Status received = Impl::Receive(&queue); !received.ok()) {
      KeepWorse(received.error(), &failure);
      more = false;
    }
    --in_flight;
  }
  queue.Shutdown();
  Impl::Drain(&queue);
  if (failure) return *std::move(failure);
  return {};
}

}  // namespace apex::qdrant
