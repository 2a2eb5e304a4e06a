#include "cli/complain.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "cli/app.h"

namespace apex::cli {

int Complain(const StoreError& error) {
  std::cerr << "apex: " << error.message << "\n";
  if (error.native_code == "42883" || error.native_code == "3F000") {
    std::cerr << "apex: is the extension there? `apex doctor` looks closer\n";
  }
  return kFailure;
}

std::variant<MappingPtr, std::string> FindTable(const std::vector<TableMapping>& mappings,
                                                const std::string& name) {
  MappingPtr found;
  for (const TableMapping& mapping : mappings) {
    const bool same = mapping.table == name || mapping.table.ends_with("." + name);
    if (!mapping.active || !same) continue;
    if (mapping.table == name) return std::make_shared<const TableMapping>(mapping);
    if (found) {
      return fmt::format("both {} and {} are attached: say which one", found->table, mapping.table);
    }
    found = std::make_shared<const TableMapping>(mapping);
  }
  if (found) return found;
  return fmt::format("no table {} is attached; `apex status` lists those that are", name);
}

}  // namespace apex::cli
