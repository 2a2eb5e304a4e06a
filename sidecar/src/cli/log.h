// Sets up the process's log: text for people, one JSON object a line for machines, to standard
// error.
#pragma once

#include "config/config.h"

namespace apex::cli {

void SetUpLog(const config::Log& log);

}  // namespace apex::cli
