#include "stores/redis/image.h"

#include <simdjson.h>

#include <nlohmann/json.hpp>

namespace apex::redis {

bool Image::Read(std::string_view text) {
  // A parser keeps its buffers between documents, which is most of its speed; it may be used by one
  // thread only.
  thread_local simdjson::ondemand::parser parser;
  text_.assign(text);
  text_.reserve(text.size() + simdjson::SIMDJSON_PADDING);
  names_.clear();
  fields_.clear();

  const simdjson::padded_string_view padded(text_.data(), text_.size(), text_.capacity());
  simdjson::ondemand::document document;
  simdjson::ondemand::object object;
  if (parser.iterate(padded).get(document) != simdjson::SUCCESS) return false;
  if (document.get_object().get(object) != simdjson::SUCCESS) return false;
  for (auto item : object) {
    simdjson::ondemand::field field;
    std::string_view name;
    std::string_view value;
    if (std::move(item).get(field) != simdjson::SUCCESS) return false;
    if (field.unescaped_key().get(name) != simdjson::SUCCESS) return false;
    const Range named{names_.size(), name.size()};
    names_.append(name);
    if (simdjson::to_json_string(field.value()).get(value) != simdjson::SUCCESS) return false;
    fields_.push_back({named,
                       {static_cast<size_t>(value.data() - text_.data()),
                        value.find_last_not_of(" \t\r\n") + 1}});
  }
  // Something follows the object otherwise.
  return document.current_location().error() == simdjson::OUT_OF_BOUNDS;
}

std::optional<std::string_view> Image::Find(std::string_view column) const {
  const std::string_view names(names_);
  for (const auto& [name, value] : fields_) {
    if (names.substr(name.begin, name.size) == column)
      return std::string_view(text_).substr(value.begin, value.size);
  }
  return std::nullopt;
}

bool AppendPlainText(std::string_view json, std::string& out) {
  if (json == "null") return false;
  if (!json.starts_with('"')) {
    out.append(json);
    return true;
  }
  if (json.find('\\') == std::string_view::npos) {
    out.append(json.substr(1, json.size() - 2));
    return true;
  }
  const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_string()) return false;
  out.append(parsed.get_ref<const std::string&>());
  return true;
}

}  // namespace apex::redis
