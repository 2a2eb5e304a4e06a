#include "stores/qdrant/collection_check.h"

#include <cstdio>
#include <string>
#include <utility>

namespace apex::qdrant {
namespace {

constexpr std::pair<int, int> kVersionMin = {1, 16};

::qdrant::Distance WireDistance(Distance distance) {
  switch (distance) {
    case Distance::kCosine: return ::qdrant::Cosine;
    case Distance::kDot: return ::qdrant::Dot;
    case Distance::kEuclid: return ::qdrant::Euclid;
    case Distance::kManhattan: return ::qdrant::Manhattan;
  }
  return ::qdrant::UnknownDistance;
}

std::string Describe(uint64_t dimensions, ::qdrant::Distance distance) {
  return std::to_string(dimensions) + " dimensions by " + ::qdrant::Distance_Name(distance) +
         " distance";
}

StoreError Unfit(std::string_view code, std::string message) {
  StoreError error;
  error.store = Store::kQdrant;
  error.operation = "prepare";
  error.kind = ErrorKind::kPermanent;
  error.native_code = code;
  error.message = std::move(message);
  return error;
}

}  // namespace

::qdrant::CreateCollection CreateRequest(const VectorMapping& vector) {
  ::qdrant::CreateCollection request;
  request.set_collection_name(vector.collection);
  auto* params = request.mutable_vectors_config()->mutable_params();
  params->set_size(vector.dimensions);
  params->set_distance(WireDistance(vector.distance));
  return request;
}

Status CheckCollection(const TableMapping& mapping, const ::qdrant::CollectionInfo& info) {
  const VectorMapping& vector = *mapping.vector;
  const auto& config = info.config().params().vectors_config();
  const std::string wanted = mapping.table + " sends one unnamed vector of " +
                             Describe(vector.dimensions, WireDistance(vector.distance));
  constexpr std::string_view kRemedy =
      "; delete the collection so that it is made anew, or attach the table to another collection";
  std::string holds;
  if (!config.has_params()) {
    holds = "no unnamed vector";
  } else if (config.params().size() != vector.dimensions ||
             config.params().distance() != WireDistance(vector.distance)) {
    holds = "vectors of " + Describe(config.params().size(), config.params().distance());
  } else {
    return {};
  }
  return Unfit("apex.collection", "collection \"" + vector.collection + "\" holds " + holds +
                                      ", but " + wanted + std::string(kRemedy));
}

Status CheckVersion(std::string_view version) {
  int major = 0;
  int minor = 0;
  // A version that does not begin with two numbers is a build from source and is trusted.
  if (std::sscanf(std::string(version).c_str(), "%d.%d", &major, &minor) != 2) return {};
  if (std::pair(major, minor) >= kVersionMin) return {};
  return Unfit(
      "apex.version",
      "Qdrant " + std::string(version) +
          " ignores conditional updates, which keep older rows from overwriting newer ones; "
          "1.16 or later is needed");
}

}  // namespace apex::qdrant
