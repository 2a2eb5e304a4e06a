// A configuration file with anything in it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // These keys name files, and what they name is read, devices included.
  if (text.find("_file") != std::string_view::npos) return 0;
  const int file = memfd_create("apex.toml", 0);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size)) return -1;
  const std::string value(text);
  apex::config::Load("/proc/self/fd/" + std::to_string(file), {}, {});
  // The same as the value of every kind of key.
  for (const apex::config::Key& key : apex::config::Keys()) {
    apex::config::Load("", {{"APEX_POSTGRES_DSN", "host=h"}, {key.environment, value}}, {});
  }
  close(file);
  return 0;
}
