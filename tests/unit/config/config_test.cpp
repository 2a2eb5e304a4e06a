#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace apex::config {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kDsn = "host=localhost dbname=app";

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() : folder_(testing::TempDir() + "apex_config_" + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~ConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& content) const {
    std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  /// The error of a load; empty and a failure when it succeeds.
  static std::string ErrorOf(const std::variant<Config, ConfigError>& loaded) {
    if (const auto* error = std::get_if<ConfigError>(&loaded)) return error->message;
    ADD_FAILURE() << "loaded without an error";
    return "";
  }
  std::string FileError(const std::string& toml) const {
    return ErrorOf(Load(Write("bad.toml", toml), {{"APEX_POSTGRES_DSN", kDsn}}, {}));
  }
  static std::string EnvironmentError(Environment environment) {
    environment.emplace("APEX_POSTGRES_DSN", kDsn);
    return ErrorOf(Load("", environment, {}));
  }
  static Config Loaded(const std::variant<Config, ConfigError>& loaded) {
    if (const auto* error = std::get_if<ConfigError>(&loaded)) {
      ADD_FAILURE() << error->message;
      return {};
    }
    return std::get<Config>(loaded);
  }

  std::filesystem::path folder_;
};

TEST_F(ConfigTest, NeedsNothingButPostgres) {
  const Config config = Loaded(Load("", {{"APEX_POSTGRES_DSN", kDsn}}, {}));
  EXPECT_EQ(config.postgres.dsn, kDsn);
  EXPECT_FALSE(config.neo4j);
  EXPECT_FALSE(config.qdrant);
  EXPECT_FALSE(config.redis);
  EXPECT_EQ(config.http.listen, "127.0.0.1:9464");
  EXPECT_EQ(config.engine.lease_ms, 1500);
}

TEST_F(ConfigTest, ReadsEverySectionOfAFile) {
  const std::string path = Write("apex.toml", R"(
[postgres]
dsn = "postgresql://apex@db/app"
password = "p"
[neo4j]
uri = "neo4j+s://graph:7687"
user = "apex"
password = "n"
database = "app"
[qdrant]
uri = "https://vectors:6334"
api_key = "q"
[redis]
uri = "redis://cache:6379/2"
password = "r"
key_prefix = "app:"
channel = "events"
[http]
listen = "0.0.0.0:8080"
token = "t"
[log]
format = "json"
level = "debug"
[engine]
pipeline = "blue"
lease_ms = 3000
batch_rows_max = 1
batches_in_flight_max = 2
piece_rows_max = 3
pending_rows_max = 4
poll_ms = 500
store_timeout_ms = 600
backoff_initial_ms = 7
backoff_max_ms = 8
give_up_after_ms = 9
shutdown_ms = 10
)");
  const Config config = Loaded(Load(path, {}, {}));
  EXPECT_EQ(config.postgres.dsn, "postgresql://apex@db/app");
  EXPECT_EQ(config.postgres.password, "p");
  ASSERT_TRUE(config.neo4j && config.qdrant && config.redis);
  EXPECT_EQ(config.neo4j->uri, "neo4j+s://graph:7687");
  EXPECT_EQ(config.neo4j->user, "apex");
  EXPECT_EQ(config.neo4j->password, "n");
  EXPECT_EQ(config.neo4j->database, "app");
  EXPECT_EQ(config.qdrant->uri, "https://vectors:6334");
  EXPECT_EQ(config.qdrant->api_key, "q");
  EXPECT_EQ(config.redis->uri, "redis://cache:6379/2");
  EXPECT_EQ(config.redis->password, "r");
  EXPECT_EQ(config.redis->key_prefix, "app:");
  EXPECT_EQ(config.redis->channel, "events");
  EXPECT_EQ(config.http.listen, "0.0.0.0:8080");
  EXPECT_EQ(config.http.token, "t");
  EXPECT_EQ(config.log.format, LogFormat::kJson);
  EXPECT_EQ(config.log.level, "debug");
  const Engine& engine = config.engine;
  EXPECT_EQ(engine.pipeline, "blue");
  EXPECT_THAT(
      (std::vector<int64_t>{engine.lease_ms, engine.batch_rows_max, engine.batches_in_flight_max,
                            engine.piece_rows_max, engine.pending_rows_max, engine.poll_ms,
                            engine.store_timeout_ms, engine.backoff_initial_ms,
                            engine.backoff_max_ms, engine.give_up_after_ms, engine.shutdown_ms}),
      testing::ElementsAre(3000, 1, 2, 3, 4, 500, 600, 7, 8, 9, 10));
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsFile) {
  const std::string path = Write(
      "apex.toml", "[postgres]\ndsn = 'dbname=file'\n[engine]\npoll_ms = 100\nshutdown_ms = 100\n");
  const Environment environment{{"APEX_ENGINE_POLL_MS", "200"}, {"APEX_ENGINE_SHUTDOWN_MS", "200"}};
  const Config config = Loaded(Load(path, environment, {{"engine.shutdown_ms", "300"}}));
  EXPECT_EQ(config.postgres.dsn, "dbname=file");
  EXPECT_EQ(config.engine.poll_ms, 200);
  EXPECT_EQ(config.engine.shutdown_ms, 300);
}

TEST_F(ConfigTest, EveryKeyIsReachableFromTheEnvironmentAndRefusesAnotherType) {
  std::set<std::string> environments;
  for (const Key& key : Keys()) {
    EXPECT_TRUE(environments.insert(key.environment).second) << key.name;
    EXPECT_FALSE(key.expected.empty()) << key.name;
    EXPECT_TRUE(key.meaning.ends_with('.')) << key.name;
    if (!key.expected.starts_with("an integer")) continue;
    const std::string error = EnvironmentError({{key.environment, "soon"}});
    EXPECT_THAT(error, AllOf(HasSubstr(key.name), HasSubstr(key.environment),
                             HasSubstr(key.expected), HasSubstr("\"soon\"")));
  }
  EXPECT_TRUE(environments.contains("APEX_ENGINE_LEASE_MS"));
  EXPECT_TRUE(environments.contains("APEX_QDRANT_API_KEY"));
}

TEST_F(ConfigTest, TreatsAnEmptyVariableAsNotSet) {
  EXPECT_FALSE(Loaded(Load("", {{"APEX_POSTGRES_DSN", kDsn}, {"APEX_REDIS_URI", ""}}, {})).redis);
}

TEST_F(ConfigTest, LeavesVariablesThatKubernetesSetsAlone) {
  Loaded(Load("", {{"APEX_POSTGRES_DSN", kDsn}, {"APEX_REDIS_PORT", "tcp://10.0.0.1:6379"}}, {}));
}

TEST_F(ConfigTest, ReadsASecretFromAFileWithoutItsTrailingNewline) {
  const std::string secret = Write("secret", "s3cret\n");
  const Environment environment{
      {"APEX_POSTGRES_DSN_FILE", Write("dsn", std::string(kDsn) + "\r\n")},
      {"APEX_NEO4J_URI", "bolt://localhost"},
      {"APEX_NEO4J_PASSWORD_FILE", secret}};
  const std::string path = Write("apex.toml", "[http]\ntoken_file = '" + secret + "'\n");
  const Config config = Loaded(Load(path, environment, {}));
  EXPECT_EQ(config.postgres.dsn, kDsn);
  EXPECT_EQ(config.neo4j->password, "s3cret");
  EXPECT_EQ(config.http.token, "s3cret");
}

TEST_F(ConfigTest, EnvironmentSecretReplacesTheFileFormBelowIt) {
  const std::string path =
      Write("apex.toml", "[http]\ntoken_file = '/nonexistent/but/overridden'\n");
  // The lower layer is still checked: a broken file is a mistake even where nothing depends on it
  // today.
  EXPECT_THAT(ErrorOf(Load(path, {{"APEX_POSTGRES_DSN", kDsn}, {"APEX_HTTP_TOKEN", "t"}}, {})),
              HasSubstr("http.token_file"));
  const std::string good =
      Write("good.toml", "[http]\ntoken_file = '" + Write("token", "below") + "'\n");
  EXPECT_EQ(
      Loaded(Load(good, {{"APEX_POSTGRES_DSN", kDsn}, {"APEX_HTTP_TOKEN", "t"}}, {})).http.token,
      "t");
}

TEST_F(ConfigTest, RefusesBothFormsOfASecret) {
  const std::string secret = Write("secret", "s");
  EXPECT_THAT(
      EnvironmentError({{"APEX_HTTP_TOKEN", "t"}, {"APEX_HTTP_TOKEN_FILE", secret}}),
      AllOf(HasSubstr("http.token"), HasSubstr("APEX_HTTP_TOKEN_FILE"), HasSubstr("not both")));
  EXPECT_THAT(FileError("[http]\ntoken = 't'\ntoken_file = '" + secret + "'\n"),
              HasSubstr("not both"));
}

TEST_F(ConfigTest, RefusesASecretFileThatCannotBeRead) {
  EXPECT_THAT(
      EnvironmentError({{"APEX_HTTP_TOKEN_FILE", "/nonexistent"}}),
      AllOf(HasSubstr("http.token_file (APEX_HTTP_TOKEN_FILE)"), HasSubstr("No such file")));
  EXPECT_THAT(EnvironmentError({{"APEX_HTTP_TOKEN_FILE", folder_.string()}}),
              HasSubstr("Is a directory"));
  EXPECT_THAT(EnvironmentError({{"APEX_HTTP_TOKEN_FILE", Write("empty", "\n")}}),
              HasSubstr("it is empty"));
  EXPECT_THAT(
      EnvironmentError({{"APEX_HTTP_TOKEN_FILE", Write("large", std::string(100000, 'x'))}}),
      HasSubstr("larger than"));
}

TEST_F(ConfigTest, NamesAnUnknownKeyOrSectionAndThoseThatExist) {
  EXPECT_THAT(FileError("[engine]\nlease = 3\n"),
              AllOf(HasSubstr("engine.lease "), HasSubstr("line 2"), HasSubstr("lease_ms")));
  EXPECT_THAT(FileError("[mongo]\nuri = 'x'\n"),
              AllOf(HasSubstr("mongo"), HasSubstr("unknown section"), HasSubstr("neo4j")));
  EXPECT_THAT(FileError("neo4j = 'bolt://x'\n"),
              AllOf(HasSubstr("neo4j"), HasSubstr("section"), HasSubstr("a string")));
  EXPECT_THAT(FileError("[engine]\nlease_ms_file = 'x'\n"), HasSubstr("unknown key"));
  EXPECT_THAT(ErrorOf(Load("", {}, {{"engine.lease", "3"}})),
              AllOf(HasSubstr("engine.lease"), HasSubstr("command line")));
}

TEST_F(ConfigTest, RefusesAWrongTypeInAFile) {
  EXPECT_THAT(FileError("[engine]\nlease_ms = '1500'\n"),
              AllOf(HasSubstr("engine.lease_ms"), HasSubstr("an integer from 100 to 60000"),
                    HasSubstr("got a string")));
  EXPECT_THAT(FileError("[engine]\nlease_ms = 1.5\n"), HasSubstr("got a decimal number"));
  EXPECT_THAT(FileError("[http]\nlisten = 9464\n"),
              AllOf(HasSubstr("http.listen"), HasSubstr("got an integer")));
  EXPECT_THAT(FileError("[http]\ntoken_file = true\n"),
              AllOf(HasSubstr("http.token_file"), HasSubstr("got a boolean")));
}

TEST_F(ConfigTest, RefusesValuesOutOfRange) {
  EXPECT_THAT(FileError("[engine]\nlease_ms = 99\n"),
              AllOf(HasSubstr("engine.lease_ms"), HasSubstr("\"99\"")));
  EXPECT_THAT(EnvironmentError({{"APEX_ENGINE_LEASE_MS", "99999999999999999999"}}),
              HasSubstr("APEX_ENGINE_LEASE_MS"));
  EXPECT_THAT(EnvironmentError({{"APEX_LOG_LEVEL", "loud"}}),
              HasSubstr("trace, debug, info, warn or error"));
  EXPECT_THAT(EnvironmentError({{"APEX_LOG_FORMAT", "xml"}}), HasSubstr("text or json"));
  EXPECT_THAT(EnvironmentError({{"APEX_ENGINE_PIPELINE", "a b"}}), HasSubstr("engine.pipeline"));
  EXPECT_THAT(
      EnvironmentError({{"APEX_ENGINE_BACKOFF_MAX_MS", "10"}}),
      AllOf(HasSubstr("engine.backoff_max_ms"), HasSubstr("engine.backoff_initial_ms (50)")));
  EXPECT_THAT(EnvironmentError({{"APEX_ENGINE_PIECE_ROWS_MAX", "30000"}}),
              HasSubstr("engine.pending_rows_max"));
}

TEST_F(ConfigTest, RefusesBadAddresses) {
  EXPECT_THAT(EnvironmentError({{"APEX_NEO4J_URI", "http://localhost:7474"}}),
              AllOf(HasSubstr("neo4j.uri"), HasSubstr("bolt://")));
  EXPECT_THAT(EnvironmentError({{"APEX_QDRANT_URI", "localhost:6334"}}),
              AllOf(HasSubstr("qdrant.uri"), HasSubstr("6334")));
  EXPECT_THAT(EnvironmentError({{"APEX_REDIS_URI", "redis://localhost/first"}}),
              HasSubstr("redis.uri"));
  EXPECT_THAT(EnvironmentError({{"APEX_HTTP_LISTEN", "9464"}}),
              AllOf(HasSubstr("http.listen"), HasSubstr("host:port")));
}

TEST_F(ConfigTest, NamesWhatIsMissing) {
  EXPECT_THAT(ErrorOf(Load("", {}, {})),
              AllOf(HasSubstr("postgres.dsn (APEX_POSTGRES_DSN)"), HasSubstr("required")));
  EXPECT_THAT(EnvironmentError({{"APEX_NEO4J_PASSWORD", "x"}}),
              AllOf(HasSubstr("neo4j.uri (APEX_NEO4J_URI)"), HasSubstr("neo4j.password")));
  EXPECT_THAT(ErrorOf(Load("/nonexistent/apex.toml", {}, {})),
              AllOf(HasSubstr("/nonexistent/apex.toml"), HasSubstr("No such file")));
  EXPECT_THAT(ErrorOf(Load(folder_.string(), {}, {})), HasSubstr("Is a directory"));
}

TEST_F(ConfigTest, RefusesADsnThatLibpqCannotRead) {
  for (const char* dsn :
       {"", "hots=localhost", "host=localhost password=hunter 2", "port=first", "port=5432,0",
        "postgresql://apex:hunter 2@db:54x/app", "postgresql://db/app%zz"}) {
    EXPECT_THAT(ErrorOf(Load("", {}, {{"postgres.dsn", dsn}})),
                AllOf(HasSubstr("postgres.dsn"), HasSubstr("libpq connection string"),
                      Not(HasSubstr("hunter"))))
        << dsn;
  }
  for (const char* dsn : {"host=a,b port=5432,5433", "host=a,b port=,5433",
                          "postgresql://a:1,b/app", "service=app"}) {
    EXPECT_EQ(Loaded(Load("", {}, {{"postgres.dsn", dsn}})).postgres.dsn, dsn);
  }
}

TEST_F(ConfigTest, RefusesTwoRedisPasswords) {
  EXPECT_THAT(
      EnvironmentError({{"APEX_REDIS_URI", "redis://:a@localhost"}, {"APEX_REDIS_PASSWORD", "b"}}),
      HasSubstr("redis.password"));
}

TEST_F(ConfigTest, TakesEveryFormOfARedisAddressAndNoOther) {
  for (const char* uri : {"redis://h", "redis://u:p@h:1/3", "rediss://h/",
                          "redis+cluster://a,b:1,[::1]:2", "rediss+cluster://u:p@a",
                          "redis+sentinel://a:1,b/primary", "rediss+sentinel://a/primary/2"}) {
    EXPECT_EQ(
        Loaded(Load("", {{"APEX_POSTGRES_DSN", kDsn}, {"APEX_REDIS_URI", uri}}, {})).redis->uri,
        uri);
  }
  for (const char* uri : {"redis://a,b", "redis+cluster://a/1", "redis+sentinel://a",
                          "redis+sentinel://a/primary/x", "redis+x://a", "redis://h:0"}) {
    EXPECT_THAT(EnvironmentError({{"APEX_REDIS_URI", uri}}), HasSubstr("redis.uri")) << uri;
  }
}

TEST_F(ConfigTest, RefusesACertificateWithoutItsKey) {
  EXPECT_THAT(
      EnvironmentError({{"APEX_REDIS_URI", "rediss://h"}, {"APEX_REDIS_TLS_CERT_FILE", "c"}}),
      HasSubstr("redis.tls_key_file"));
  EXPECT_THAT(
      EnvironmentError({{"APEX_REDIS_URI", "rediss://h"}, {"APEX_REDIS_TLS_KEY_FILE", "k"}}),
      HasSubstr("redis.tls_cert_file"));
}

TEST_F(ConfigTest, NeverPrintsASecret) {
  const std::string secret = "hunter2";
  EXPECT_THAT(EnvironmentError({{"APEX_REDIS_URI", "redis://:" + secret + "@"}}),
              Not(HasSubstr(secret)));
  EXPECT_THAT(EnvironmentError({{"APEX_NEO4J_URI", "bolt://neo4j:" + secret + "@localhost"}}),
              Not(HasSubstr(secret)));
  EXPECT_THAT(ErrorOf(Load("", {{"APEX_POSTGRES_DSN", secret}}, {})), Not(HasSubstr(secret)));
  for (const char* toml :
       {"[http]\ntoken = hunter2\n", "[http]\ntoken = 'hunter2\n", "[http]\ntoken = 'x' hunter2\n",
        "hunter2\n", "[http]\ntoken = 99999999999999999999\n"}) {
    EXPECT_THAT(FileError(toml),
                AllOf(HasSubstr("line "), Not(HasSubstr(secret)), Not(HasSubstr("9999"))));
  }
}

}  // namespace
}  // namespace apex::config
