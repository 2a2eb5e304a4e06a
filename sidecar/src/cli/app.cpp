#include "cli/app.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "config/config.h"

extern char** environ;

namespace apex::cli {
namespace {

config::Environment ReadEnvironment() {
  config::Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const size_t equals = text.find('=');
    if (equals != std::string::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

/// The flags that stand for a key of the configuration. Everything else is in the file or the
/// environment.
struct KeyFlags {
  std::string path;
  std::map<std::string, std::string> values;

  void AddTo(CLI::App& app) {
    app.add_option("-c,--config", path, "TOML file; every key is also an environment variable")
        ->envname("APEX_CONFIG");
    Add(app, "--postgres-dsn", "postgres.dsn", "libpq connection string (APEX_POSTGRES_DSN)");
    Add(app, "--pipeline", "engine.pipeline", "pipeline to serve (APEX_ENGINE_PIPELINE)");
    Add(app, "--listen", "http.listen", "HTTP address and port (APEX_HTTP_LISTEN)");
    Add(app, "--log-level", "log.level", "trace, debug, info, warn or error (APEX_LOG_LEVEL)");
  }

 private:
  void Add(CLI::App& app, const std::string& flag, const std::string& key,
           const std::string& help) {
    app.add_option_function<std::string>(
        flag, [this, key](const std::string& value) { values[key] = value; }, help);
  }
};

}  // namespace

int Main(int argc, char** argv) {
  CLI::App app(
      "Carries PostgreSQL's committed changes into Neo4j, Qdrant and Redis, and compensates where "
      "a store refuses.",
      "apex");
  app.set_version_flag("--version", APEX_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  KeyFlags flags;
  flags.AddTo(app);

  std::string saga;
  bool json = false;
  CLI::App* run = app.add_subcommand(
      "run", "Serve the pipeline: lead it, or stand by until the leader is gone");
  CLI::App* doctor =
      app.add_subcommand("doctor", "Say what is wrong with the set-up and what to do about it");
  CLI::App* status = app.add_subcommand("status", "Show leader, backlog and failed sagas");
  status->add_flag("--json", json, "As JSON");
  bool cache = false;
  status->add_flag("--cache", cache, "Show the cache's figures instead");
  CLI::App* retry =
      app.add_subcommand("retry", "Send the rows of a failed saga again, as they are now");
  retry->add_option("saga", saga, "Id of the saga, from apex status")->required();
  CLI::App* discard = app.add_subcommand(
      "discard", "Forget a failed saga; its rows keep what the stores had accepted");
  discard->add_option("saga", saga, "Id of the saga, from apex status")->required();
  std::string table;
  std::optional<int64_t> rows_per_second;
  CLI::App* backfill = app.add_subcommand(
      "backfill", "Send every row of a table as it is now, while the table is being written");
  backfill->add_option("table", table, "An attached table, with its schema where needed")
      ->required();
  backfill->add_option("--rate", rows_per_second, "Rows a second at most")
      ->check(CLI::Range(int64_t{1}, int64_t{std::numeric_limits<int32_t>::max()}));
  WarmOptions warming;
  CLI::App* warm =
      app.add_subcommand("warm", "Put rows of a table into the cache before they are asked for");
  warm->add_option("table", warming.table, "An attached table, with its schema where needed")
      ->required();
  warm->add_option("--where", warming.where, "An SQL condition on the table's columns");
  warm->add_option("--limit", warming.limit, "Rows at most, 10000 unless said otherwise")
      ->check(CLI::Range(int64_t{1}, int64_t{10'000'000}));
  warm->add_option("--rate", warming.rows_per_second, "Rows a second at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}));
  std::vector<std::string> tables;
  bool dry_run = false;
  CLI::App* verify =
      app.add_subcommand("verify", "Compare every row with every store and say what differs");
  verify->add_option("--table", tables, "Only this table; may be given several times");
  verify->add_flag("--json", json, "As JSON");
  CLI::App* repair = app.add_subcommand("repair", "Mend what apex verify finds, then verify again");
  repair->add_option("--table", tables, "Only this table; may be given several times");
  repair->add_flag("--dry-run", dry_run, "Only say what would be done");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kSuccess : kUsage;
  }

  auto loaded = config::Load(flags.path, ReadEnvironment(), flags.values);
  if (const auto* error = std::get_if<config::ConfigError>(&loaded)) {
    std::cerr << "apex: " << error->message << "\n";
    return kUsage;
  }
  const config::Config& config = std::get<config::Config>(loaded);
  if (*run) return Run(config);
  if (*doctor) return Doctor(config);
  if (*status) return cache ? ShowCache(config, json) : ShowStatus(config, json);
  if (*retry) return Retry(config, saga);
  if (*verify) return Verify(config, tables, json);
  if (*repair) return Repair(config, tables, dry_run);
  if (*backfill) return Backfill(config, table, rows_per_second);
  if (*warm) return Warm(config, warming);
  if (*discard) return Discard(config, saga);
  return kUsage;
}

}  // namespace apex::cli
