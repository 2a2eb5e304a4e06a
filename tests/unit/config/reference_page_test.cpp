// docs/reference/configuration.md against the keys that the program takes.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "config/config.h"

namespace apex::config {
namespace {

std::string Code(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

std::string RowOf(const Key& key) {
  const std::string name =
      Code(key.name) + (key.secret ? "<br>" + Code(key.name + "_file") : std::string());
  const std::string variable =
      Code(key.environment) +
      (key.secret ? "<br>" + Code(key.environment + "_FILE") : std::string());
  return "| " + name + " | " + variable + " | " + Code(key.default_value) + " | " + key.expected +
         " | " + key.meaning + " |";
}

/// The rows of the page's tables of keys: those that begin with a dotted name.
std::set<std::string> RowsOfPage() {
  const auto root = std::filesystem::path(__FILE__).parent_path() / "../../..";
  std::ifstream page(root / "docs/reference/configuration.md");
  EXPECT_TRUE(page) << "docs/reference/configuration.md cannot be read";
  std::set<std::string> rows;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    const std::string name = line.substr(3, line.find('`', 3) - 3);
    if (name.find('.') != std::string::npos) rows.insert(line);
  }
  return rows;
}

TEST(ReferencePageTest, HoldsExactlyTheKeysThatTheProgramTakes) {
  std::set<std::string> rows = RowsOfPage();
  for (const Key& key : Keys()) {
    const std::string row = RowOf(key);
    EXPECT_EQ(rows.erase(row), 1U) << "docs/reference/configuration.md lacks this line:\n" << row;
  }
  for (const std::string& row : rows)
    ADD_FAILURE() << "docs/reference/configuration.md has a line that no key makes:\n" << row;
}

}  // namespace
}  // namespace apex::config
