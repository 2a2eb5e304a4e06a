#include "stores/neo4j/router.h"

#include <algorithm>

#include "stores/neo4j/errors.h"

namespace apex::neo4j {
namespace {

/// Routers remembered from one table.
constexpr size_t kRoutersMax = 16;

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

  std::vector<Address> seeds{uri_.address};
  for (const Address& router : known_routers_) {
    if (std::ranges::find(seeds, router) == seeds.end()) seeds.push_back(router);
  }
  for (size_t i = 0; i < seeds.size(); ++i) {
    // Each seed gets its share, so that one which does not answer leaves time for the others.
    const auto share = deadline.remaining() / static_cast<int>(seeds.size() - i);
    auto connection = OpenFrom(seeds[i], Deadline::After(share));
    if (connection.ok() || i + 1 == seeds.size()) return connection;
  }
  return BoltConnection::Open(uri_.address, uri_, credentials_, deadline);
}

Result<std::unique_ptr<BoltConnection>> Router::OpenFrom(const Address& seed, Deadline deadline) {
  auto connection = BoltConnection::Open(seed, uri_, credentials_, deadline);
  if (!connection.ok()) return connection;
  Result<packstream::Value> answer = (*connection)->Route(database_, seed, uri_, deadline);
  if (!answer.ok()) return answer.error();
  RoutingTable table = ParseRoutingTable(*answer);
  known_routers_ = table.routers;
  if (table.writers.empty()) {
    return MakeError("route", ErrorKind::kTransient, kConnectFailed,
                     "no server takes writes at the moment");
  }
  if (std::ranges::find(table.writers, seed) != table.writers.end()) return connection;
  return BoltConnection::Open(table.writers.front(), uri_, credentials_, deadline);
}

}  // namespace apex::neo4j
