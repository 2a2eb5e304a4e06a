// The three places a value can come from, each read into one layer without looking at what the
// values mean.
//
// Only for this folder. Pure apart from reading the TOML file.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "config/config.h"

namespace apex::config {

/// Ends loading from any depth; caught in Load and nowhere else.
struct Refusal {
  std::string message;
};

/// One value as it was given, in the words of where it was given.
struct Given {
  /// Types count in a TOML file; the environment and the command line know only text.
  enum class Type { kUntyped, kString, kInteger, kOther };

  std::string text;
  std::string origin;
  Type type = Type::kUntyped;
  std::string type_name = "text";  ///< For messages: "a string".
};

/// Values by dotted name, the `_file` forms of secrets included. Every name in it is known.
using Layer = std::map<std::string, Given>;

inline constexpr std::string_view kFileSuffix = "_file";

/// "engine.lease_ms" -> "APEX_ENGINE_LEASE_MS"
std::string EnvironmentName(std::string_view key);

[[noreturn]] void Refuse(const std::string& key, const Given& given, const std::string& problem);

Layer FileLayer(const std::string& path);
Layer EnvironmentLayer(const Environment& environment);
Layer FlagLayer(const std::map<std::string, std::string>& flags);

}  // namespace apex::config
