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

/// Of the vector of this name, the unnamed one when it is empty; nullptr: there is none.
const ::qdrant::VectorParams* ParamsOf(const ::qdrant::VectorsConfig& config,
                                       const std::string& name) {
  if (name.empty()) return config.has_params() ? &config.params() : nullptr;
  const auto found = config.params_map().map().find(name);
  return found == config.params_map().map().end() ? nullptr : &found->second;
}

}  // namespace

::qdrant::CreateCollection CreateRequest(const VectorMapping& vector) {
  ::qdrant::CreateCollection request;
  request.set_collection_name(vector.collection);
  auto* config = request.mutable_vectors_config();
  auto* params = vector.name.empty() ? config->mutable_params()
                                     : &(*config->mutable_params_map()->mutable_map())[vector.name];
  params->set_size(vector.dimensions);
  params->set_distance(WireDistance(vector.distance));
  return request;
}

Status CheckCollection(const TableMapping& mapping, const ::qdrant::CollectionInfo& info) {
  const VectorMapping& vector = *mapping.vector;
  const std::string which =
      vector.name.empty() ? "unnamed vector" : "vector named \"" + vector.name + "\"";
  const ::qdrant::VectorParams* params =
      ParamsOf(info.config().params().vectors_config(), vector.name);
  std::string holds;
  if (params == nullptr) {
    holds = "no " + which;
  } else if (params->size() != vector.dimensions ||
             params->distance() != WireDistance(vector.distance)) {
    holds = "vectors of " + Describe(params->size(), params->distance());
  } else {
    return {};
  }
  constexpr std::string_view kRemedy =
      "; delete the collection so that it is made anew, or attach the table to another collection";
  return Unfit("apex.collection", "collection \"" + vector.collection + "\" holds " + holds +
                                      ", but " + mapping.table + " sends one " + which + " of " +
                                      Describe(vector.dimensions, WireDistance(vector.distance)) +
                                      std::string(kRemedy));
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
