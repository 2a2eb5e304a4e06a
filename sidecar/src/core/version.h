// The release this is, as `apex --version`, the console and apex_build_info say it.
#pragma once

namespace apex {

inline constexpr const char* kVersion = "1.1.0";

}  // namespace apex
