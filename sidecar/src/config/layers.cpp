#include "config/layers.h"

#include <toml++/toml.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "config/keys.h"

namespace apex::config {
namespace {

std::string Section(const std::string& key) { return key.substr(0, key.find('.')); }

std::string Join(const std::set<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined.append(joined.empty() ? "" : ", ").append(word);
  return joined;
}

/// Every name a file may use, with the `_file` forms of secrets.
std::set<std::string> KnownNames() {
  std::set<std::string> names;
  for (const KeySpec& key : KeySpecs()) {
    names.insert(key.name);
    if (key.secret) names.insert(key.name + std::string(kFileSuffix));
  }
  return names;
}

std::set<std::string> KnownSections() {
  std::set<std::string> sections;
  for (const KeySpec& key : KeySpecs()) sections.insert(Section(key.name));
  return sections;
}

std::set<std::string> KnownNamesOf(const std::string& section) {
  std::set<std::string> names;
  for (const std::string& name : KnownNames()) {
    if (Section(name) == section) names.insert(name.substr(section.size() + 1));
  }
  return names;
}

std::string TypeName(toml::node_type type) {
  switch (type) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a decimal number";
    case toml::node_type::boolean: return "a boolean";
    default: return "a date or time";
  }
}

Given FromToml(const toml::node& node, const std::string& path) {
  Given given{.text = {},
              .origin = path + ", line " + std::to_string(node.source().begin.line),
              .type = Given::Type::kOther,
              .type_name = TypeName(node.type())};
  if (const auto* text = node.as_string()) {
    given.text = text->get();
    given.type = Given::Type::kString;
  } else if (const auto* number = node.as_integer()) {
    given.text = std::to_string(number->get());
    given.type = Given::Type::kInteger;
  }
  return given;
}

toml::table ParseToml(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in || in.peek() == std::ifstream::traits_type::eof()) {
    if (errno != 0) throw Refusal{path + ": cannot be read: " + std::strerror(errno)};
  }
  try {
    return toml::parse(in, path);
  } catch (const toml::parse_error& error) {
    // From the first quotation mark on, the parser repeats the file, and what it repeats may be a
    // secret.
    const std::string_view description = error.description();
    const auto& at = error.source().begin;
    throw Refusal{
        path + ", line " + std::to_string(at.line) + ", column " + std::to_string(at.column) +
        ": this is not valid TOML: " + std::string(description.substr(0, description.find('\'')))};
  }
}

}  // namespace

std::string EnvironmentName(std::string_view key) {
  std::string name = "APEX_";
  for (const char c : key)
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

void Refuse(const std::string& key, const Given& given, const std::string& problem) {
  throw Refusal{key + " (" + given.origin + "): " + problem};
}

Layer FileLayer(const std::string& path) {
  Layer layer;
  if (path.empty()) return layer;
  const std::set<std::string> names = KnownNames();
  const std::set<std::string> sections = KnownSections();
  for (const auto& [section_key, section_node] : ParseToml(path)) {
    const std::string section(section_key.str());
    const Given place = FromToml(section_node, path);
    if (!sections.contains(section))
      Refuse(section, place, "unknown section; expected one of " + Join(sections));
    if (!section_node.is_table())
      Refuse(section, place,
             "expected a section [" + section + "], got " + TypeName(section_node.type()));
    for (const auto& [key, node] : *section_node.as_table()) {
      const std::string name = section + "." + std::string(key.str());
      const Given given = FromToml(node, path);
      if (!names.contains(name))
        Refuse(name, given, "unknown key; expected one of " + Join(KnownNamesOf(section)));
      layer[name] = given;
    }
  }
  return layer;
}

Layer EnvironmentLayer(const Environment& environment) {
  Layer layer;
  for (const std::string& name : KnownNames()) {
    const std::string variable = EnvironmentName(name);
    const auto found = environment.find(variable);
    if (found != environment.end() && !found->second.empty())
      layer[name] = Given{.text = found->second, .origin = variable};
  }
  return layer;
}

Layer FlagLayer(const std::map<std::string, std::string>& flags) {
  Layer layer;
  const std::set<std::string> names = KnownNames();
  for (const auto& [name, value] : flags) {
    Given given{.text = value, .origin = "given on the command line"};
    if (!names.contains(name)) Refuse(name, given, "unknown key");
    layer[name] = std::move(given);
  }
  return layer;
}

}  // namespace apex::config
