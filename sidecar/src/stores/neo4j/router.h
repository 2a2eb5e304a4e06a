// Finds the server that takes writes: the one in the URI, or for neo4j:// the one its routing table
// names.
//
// Used by one thread. A table is fetched whenever a connection is opened, so that it needs no time
// to live, and its routers are remembered and asked before the server in the URI, so that a cluster
// is found again after that one has gone. A leader that steps down answers
// Neo.ClientError.Cluster.NotALeader or General.ForbiddenOnReadOnlyDatabase: the caller drops the
// connection and asks here again. A router whose table leads nowhere is passed over for the next.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stores/neo4j/bolt_connection.h"

namespace apex::neo4j {

struct RoutingTable {
  std::vector<Address> routers;
  std::vector<Address> writers;
};

/// Reads the server's map; addresses it cannot read are left out.
RoutingTable ParseRoutingTable(const packstream::Value& table);

class Router {
 public:
  Router(Uri uri, Credentials credentials, std::string database)
      : uri_(std::move(uri)),
        credentials_(std::move(credentials)),
        database_(std::move(database)) {}

  /// A connection that takes writes.
  Result<std::unique_ptr<BoltConnection>> Open(Deadline deadline);

 private:
  Result<std::unique_ptr<BoltConnection>> OpenFrom(const Address& seed, Deadline deadline);

  Uri uri_;
  Credentials credentials_;
  std::string database_;
  std::vector<Address> known_routers_;
};

}  // namespace apex::neo4j
