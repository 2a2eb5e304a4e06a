// The page at `/`: how the pipeline is doing, for a person. Everything it needs is in it.
#pragma once

#include <string_view>

namespace apex::http {

extern const std::string_view kConsolePage;

}  // namespace apex::http
