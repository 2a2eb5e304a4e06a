#include "config/config.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "config/keys.h"
#include "config/layers.h"
#include "core/uri.h"

namespace apex::config {
namespace {

constexpr size_t kSecretBytesMax = 64UL * 1024;

/// Where each key that is not at its default came from.
using Origins = std::map<std::string, Given>;

/// The file's content without one trailing newline, as editors and `echo` leave it.
std::string ReadSecret(const std::string& key, const Given& given) {
  const auto refuse = [&](const std::string& why) {
    Refuse(key, given, "expected a file holding the value: " + given.text + ": " + why);
  };
  errno = 0;
  std::ifstream in(given.text, std::ios::binary);
  if (!in) refuse(std::strerror(errno));
  std::string text(kSecretBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || errno == EISDIR) refuse(std::strerror(errno != 0 ? errno : EIO));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kSecretBytesMax)
    refuse("it is larger than " + std::to_string(kSecretBytesMax) + " bytes");
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) refuse("it is empty");
  return text;
}

/// An integer that was written as a string in a file is refused: it says that another key was
/// meant.
bool HasExpectedType(const Given& given, bool integer) {
  if (given.type == Given::Type::kUntyped) return true;
  return given.type == (integer ? Given::Type::kInteger : Given::Type::kString);
}

void StoreValue(const KeySpec& key, const Given& given, const std::string& value, Config& config) {
  if (key.set(config, value)) return;
  // An address refused for the user and password in it must not be repeated either.
  const bool repeatable = !key.secret && value.find('@') == std::string::npos;
  Refuse(key.name, given,
         "expected " + key.expected + (repeatable ? ", got \"" + value + "\"" : ""));
}

/// Puts one layer over what the layers below it gave. Both forms of a secret in one layer
/// contradict each other; in different layers the higher one wins.
void Apply(const Layer& layer, Config& config, Origins& origins) {
  for (const KeySpec& key : KeySpecs()) {
    const std::string file_name = key.name + std::string(kFileSuffix);
    const auto plain = layer.find(key.name);
    const auto file = key.secret ? layer.find(file_name) : layer.end();
    if (plain != layer.end() && file != layer.end()) {
      Refuse(key.name, plain->second,
             "expected either this or " + file_name + " (" + file->second.origin + "), not both");
    }
    if (plain != layer.end()) {
      const Given& given = plain->second;
      if (!HasExpectedType(given, key.integer))
        Refuse(key.name, given, "expected " + key.expected + ", got " + given.type_name);
      StoreValue(key, given, given.text, config);
      origins[key.name] = given;
    } else if (file != layer.end()) {
      const Given& given = file->second;
      if (!HasExpectedType(given, false))
        Refuse(file_name, given, "expected the path of a file, got " + given.type_name);
      StoreValue(key, given, ReadSecret(file_name, given), config);
      origins[key.name] = given;
    }
  }
}

[[noreturn]] void RefuseMissing(const std::string& key, const std::string& problem) {
  throw Refusal{key + " (" + EnvironmentName(key) + "): " + problem};
}

/// A store is configured by its uri. Its other keys alone are a mistake, most likely in the uri's
/// name.
template <typename Section>
void KeepIfConfigured(const std::string& section, std::optional<Section>& member,
                      const Origins& origins) {
  if (!member->uri.empty()) return;
  for (const auto& [key, given] : origins) {
    if (key.starts_with(section + ".")) {
      RefuseMissing(section + ".uri",
                    "expected, because " + key + " (" + given.origin + ") is given");
    }
  }
  member.reset();
}

/// What no key can tell on its own.
void CheckTogether(Config& config, const Origins& origins) {
  if (config.postgres.dsn.empty())
    RefuseMissing("postgres.dsn", "required; expected a libpq connection string");
  KeepIfConfigured("neo4j", config.neo4j, origins);
  KeepIfConfigured("qdrant", config.qdrant, origins);
  KeepIfConfigured("redis", config.redis, origins);
  if (config.redis && !config.redis->password.empty() &&
      ParseUriOfHosts(config.redis->uri)->password) {
    Refuse("redis.password", origins.at("redis.password"),
           "expected only where redis.uri has no password");
  }
  if (config.redis && config.redis->tls_cert_file.empty() != config.redis->tls_key_file.empty()) {
    const bool no_key = config.redis->tls_key_file.empty();
    RefuseMissing(no_key ? "redis.tls_key_file" : "redis.tls_cert_file",
                  std::string("expected, because ") +
                      (no_key ? "redis.tls_cert_file" : "redis.tls_key_file") + " is given");
  }
  const auto at_least = [&](const char* key, int64_t value, const char* other, int64_t least) {
    if (value >= least) return;
    const std::string problem = "expected at least " + std::string(other) + " (" +
                                std::to_string(least) + "), got " + std::to_string(value);
    const auto given = origins.find(key);
    if (given == origins.end()) RefuseMissing(key, problem);
    Refuse(key, given->second, problem);
  };
  const Engine& engine = config.engine;
  at_least("engine.backoff_max_ms", engine.backoff_max_ms, "engine.backoff_initial_ms",
           engine.backoff_initial_ms);
  at_least("engine.pending_rows_max", engine.pending_rows_max, "engine.piece_rows_max",
           engine.piece_rows_max);
}

}  // namespace

std::vector<Key> Keys() {
  const Config defaults = WithEveryStore();
  std::vector<Key> keys;
  for (const KeySpec& spec : KeySpecs()) {
    keys.push_back({.name = spec.name,
                    .environment = EnvironmentName(spec.name),
                    .default_value = spec.get(defaults),
                    .expected = spec.expected,
                    .meaning = spec.meaning,
                    .secret = spec.secret});
  }
  return keys;
}

std::variant<Config, ConfigError> Load(const std::string& path, const Environment& environment,
                                       const std::map<std::string, std::string>& flags) {
  Config config = WithEveryStore();
  Origins origins;
  try {
    for (const Layer& layer : {FileLayer(path), EnvironmentLayer(environment), FlagLayer(flags)})
      Apply(layer, config, origins);
    CheckTogether(config, origins);
  } catch (const Refusal& refusal) {
    return ConfigError{refusal.message};
  }
  return config;
}

}  // namespace apex::config
