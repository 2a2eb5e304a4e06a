// The table of keys behind config.h: for each key where it is stored, what it accepts and what it
// means.
//
// Only for this folder. Immutable after its first use and safe to share.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "config/config.h"

namespace apex::config {

struct KeySpec {
  std::string name;
  std::string expected;
  std::string meaning;
  bool secret = false;
  bool integer = false;  ///< Written as a TOML integer, not as a string.
  /// False: the text is not what is expected, and the configuration is unchanged.
  std::function<bool(Config&, const std::string&)> set;
  std::function<std::string(const Config&)> get;
};

std::span<const KeySpec> KeySpecs();

/// A configuration of defaults in which the optional stores exist, so that each key has a place to
/// be stored.
Config WithEveryStore();

}  // namespace apex::config
