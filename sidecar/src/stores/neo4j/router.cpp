#include "stores/neo4j/router.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

/// Routers remembered from one table.
constexpr size_t kRoutersMax = 16;

/// Of the time that is left when `candidates` may have to be tried: one which does not answer
/// leaves the others theirs.
Deadline Share(Deadline deadline, size_t candidates) {
  return Deadline::After(deadline.remaining() / static_cast<int>(candidates));
}

}  // namespace

RoutingTable ParseRoutingTable(const packstream::Value& table) {
  RoutingTable parsed;
  const packstream::Value* servers = table.Find("servers");
  const auto* list = servers == nullptr ? nullptr : servers->As<packstream::List>();
  if (list == nullptr) return parsed;
  for (const packstream::Value& server : *list) {
    const packstream::Value* addresses = server.Find("addresses");
    const auto* texts = addresses == nullptr ? nullptr : addresses->As<packstream::List>();
    if (texts == nullptr) continue;
    const std::string_view role = server.FindString("role");
    for (const packstream::Value& text : *texts) {
      const auto* name = text.As<std::string>();
      if (name == nullptr) continue;
      Result<Address> address = ParseAddress(*name);
      if (!address.ok()) continue;
      if (role == "WRITE") parsed.writers.push_back(*address);
      if (role == "ROUTE" && parsed.routers.size() < kRoutersMax)
        parsed.routers.push_back(*address);
    }
  }
  return parsed;
}

Result<std::unique_ptr<BoltConnection>> Router::Open(Deadline deadline) {
  if (!uri_.routing) return BoltConnection::Open(uri_.address, uri_, credentials_, deadline);

  // Those that answered last time come first: the server in the URI may have gone for good, and
  // would cost its share of the time whenever a connection is opened.
  std::vector<Address> seeds = known_routers_;
  if (std::ranges::find(seeds, uri_.address) == seeds.end()) seeds.push_back(uri_.address);
  std::optional<StoreError> error;
  for (size_t i = 0; i < seeds.size(); ++i) {
    auto connection = OpenFrom(seeds[i], Share(deadline, seeds.size() - i));
    if (connection.ok()) return connection;
    error = connection.error();
  }
  return *std::move(error);
}

Result<std::unique_ptr<BoltConnection>> Router::OpenFrom(const Address& seed, Deadline deadline) {
  auto connection = BoltConnection::Open(seed, uri_, credentials_, deadline);
  if (!connection.ok()) return connection;
  Result<packstream::Value> answer = (*connection)->Route(database_, seed, uri_, deadline);
  if (!answer.ok()) return answer.error();
  const RoutingTable table = ParseRoutingTable(*answer);
  if (!table.routers.empty()) known_routers_ = table.routers;
  if (std::ranges::find(table.writers, seed) != table.writers.end()) return connection;
  StoreError error = MakeError("route", ErrorKind::kTransient, kConnectFailed,
                               "no server takes writes at the moment");
  for (size_t i = 0; i < table.writers.size(); ++i) {
    connection = BoltConnection::Open(table.writers[i], uri_, credentials_,
                                      Share(deadline, table.writers.size() - i));
    if (connection.ok()) return connection;
    error = connection.error();
  }
  return error;
}

}  // namespace apex::neo4j
