// PostgreSQL's basic headers with C linkage. Every file of this folder includes this one first, and
// further server headers inside its own extern "C" block.
#pragma once

// Some of the server's headers include C++ headers of the standard library through C ones; a
// template inside extern "C" does not compile, so these come first.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
// postgres.h comes before every other header of the server, whatever the alphabet says.
// clang-format off
#include "postgres.h"
#include "fmgr.h"
// clang-format on
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
}
