// Redis as the sidecar sees it: every script has set its key, no pattern matches any.
#pragma once

#include "connections.h"

namespace apex::sink {

void ServeRedis(Peer& peer);

}  // namespace apex::sink
