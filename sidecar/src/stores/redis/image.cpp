#include "stores/redis/image.h"

#include <simdjson.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace apex::redis {

std::optional<Image> Image::Parse(std::string_view text) {
  // A parser keeps its buffers between documents, which is most of its speed; it may be used by one
  // thread only.
  thread_local simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(text);
  Image image;
  image.text_ = text;

  simdjson::ondemand::document document;
  simdjson::ondemand::object object;
  if (parser.iterate(padded).get(document) != simdjson::SUCCESS) return std::nullopt;
  if (document.get_object().get(object) != simdjson::SUCCESS) return std::nullopt;
  for (auto item : object) {
    simdjson::ondemand::field field;
    std::string_view name;
    std::string_view value;
    if (std::move(item).get(field) != simdjson::SUCCESS) return std::nullopt;
    if (field.unescaped_key().get(name) != simdjson::SUCCESS) return std::nullopt;
    Field found{.name = std::string(name), .begin = 0, .size = 0};
    if (simdjson::to_json_string(field.value()).get(value) != simdjson::SUCCESS)
      return std::nullopt;
    found.begin = static_cast<size_t>(value.data() - padded.data());
    found.size = value.find_last_not_of(" \t\r\n") + 1;
    image.fields_.push_back(std::move(found));
  }
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
    return std::nullopt;  // Something follows the object.
  return image;
}

std::optional<std::string_view> Image::Find(std::string_view column) const {
  const auto field = std::ranges::find(fields_, column, &Field::name);
  if (field == fields_.end()) return std::nullopt;
  return std::string_view(text_).substr(field->begin, field->size);
}

std::optional<std::string> PlainText(std::string_view json) {
  if (json == "null") return std::nullopt;
  if (!json.starts_with('"')) return std::string(json);
  if (json.find('\\') == std::string_view::npos)
    return std::string(json.substr(1, json.size() - 2));
  const auto parsed = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_string()) return std::nullopt;
  return parsed.get<std::string>();
}

}  // namespace apex::redis
