// A configuration file with anything in it.
#include "config/config.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // These keys name files, and what they name is read, devices included.
  if (text.find("_file") != std::string_view::npos) return 0;
  const int file = memfd_create("apex.toml", 0);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size)) return -1;
  apex::config::Load("/proc/self/fd/" + std::to_string(file), {}, {});
  close(file);
  // And the same as the value of one key, which the first byte chooses.
  static const std::vector<apex::config::Key> keys = apex::config::Keys();
  if (size == 0) return 0;
  const std::string& name = keys[data[0] % keys.size()].environment;
  apex::config::Load("", {{"APEX_POSTGRES_DSN", "host=h"}, {name, std::string(text.substr(1))}},
                     {});
  return 0;
}
