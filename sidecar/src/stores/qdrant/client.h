// Qdrant's gRPC API with this project's errors and deadlines.
//
// Used by one thread. The channel connects when first used, reconnects by itself, and is shared by
// all calls. No call returns later than its deadline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/deadline.h"
#include "core/result.h"
#include "qdrant.pb.h"

namespace apex::qdrant {

/// How many update requests may be at the store at once.
inline constexpr int kRequestsInFlightMax = 4;

struct ClientOptions {
  std::string uri;  ///< http://host:port or https://host:port of the gRPC port, 6334 when left out
  std::string api_key;
};

/// An encoded UpdateBatchPoints.
struct UpdateRequest {
  std::string bytes;
  int operations = 0;
};

class Client {
 public:
  /// An unusable uri is reported by the first call, as a permanent error.
  explicit Client(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Result<::qdrant::HealthCheckReply> HealthCheck(Deadline deadline);

  /// nullopt: there is no such collection.
  Result<std::optional<::qdrant::CollectionInfo>> GetCollection(const std::string& name,
                                                                Deadline deadline);
  /// Success also when the collection is there already, however it is made.
  Status CreateCollection(const ::qdrant::CreateCollection& request, Deadline deadline);
  /// Success also when there is none.
  Status DeleteCollection(const std::string& name, Deadline deadline);
  /// Idempotent; waits until the index is there.
  Status CreateIntegerIndex(const std::string& collection, const std::string& field,
                            Deadline deadline);

  Result<::qdrant::GetResponse> GetPoints(const ::qdrant::GetPoints& request, Deadline deadline);

  /// nullopt: there is no such collection.
  Result<std::optional<::qdrant::ScrollResponse>> ScrollPoints(
      const ::qdrant::ScrollPoints& request, Deadline deadline);

  /// The next request, nullopt at the end, or an error that ends the sending.
  using Requests = std::function<Result<std::optional<UpdateRequest>>()>;

  /// Sends requests on disjoint points, up to kRequestsInFlightMax at once, and waits for all.
  /// Success: every operation of every request was Completed. After a failure nothing more is sent,
  /// what is in flight is waited for, and of several failures the permanent one is returned. Any
  /// prefix of any request may have been applied then.
  Status UpdateAll(const Requests& requests, Deadline deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace apex::qdrant
