// Neo4j as the sidecar sees it: every statement succeeds and counts the rows it was sent.
#pragma once

#include "connections.h"

namespace apex::sink {

void ServeBolt(Peer& peer);

}  // namespace apex::sink
