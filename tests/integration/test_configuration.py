"""A wrong configuration stops `apex run` at once with exit code 2, the key's name and what was expected; secrets stay secret."""

import json
import pathlib
import socket
from collections.abc import Mapping

import pytest
from command import apex
from gate import Gate
from stores.sidecar import Sidecar
from world import World, wait_until

# Nothing listens on port 1: had a mistake not stopped the process at once, it would wait there for PostgreSQL.
DSN = "host=127.0.0.1 port=1 dbname=app user=apex"
ENOUGH = {"APEX_POSTGRES_DSN": DSN, "APEX_HTTP_LISTEN": "127.0.0.1:0"}
SECRET = "hunter2-and-more"


def refused(*arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """What `apex run` said when it refused to start."""
    done = apex("run", *arguments, variables=ENOUGH if variables is None else variables)
    assert done.returncode == 2, done
    assert done.stdout == ""
    return done.stderr


def file_of(directory: pathlib.Path, text: str) -> str:
    path = directory / "apex.toml"
    path.write_text(text)
    return str(path)


FILES = {
    "unknown key": ('[postgres]\ndns = "x"', ["postgres.dns", "line 2", "unknown key", "dsn"]),
    "unknown section": ("[mongodb]\nuri = 'x'", ["mongodb", "line 1", "unknown section", "neo4j"]),
    "text for a number": ('[engine]\nlease_ms = "1500"', ["engine.lease_ms", "line 2", "an integer from 100 to 60000", "a string"]),
    "a number for text": ("[neo4j]\nuri = 7687", ["neo4j.uri", "line 2", "bolt://", "an integer"]),
    "out of range": ("[engine]\nlease_ms = 1", ["engine.lease_ms", "an integer from 100 to 60000", '"1"']),
    "two keys that contradict": ("[engine]\nbackoff_max_ms = 10", ["engine.backoff_max_ms", "line 2", "engine.backoff_initial_ms"]),
    "no TOML": ("[engine\nlease_ms = 1", ["line 1", "not valid TOML"]),
    "unreadable secret": ("[neo4j]\npassword_file = '/nonexistent'", ["neo4j.password_file", "/nonexistent", "No such file"]),
    "a directory for a secret": ("[http]\ntoken_file = '/tmp'", ["http.token_file", "Is a directory"]),
}


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=FILES.keys())
def test_a_mistake_in_the_file_is_named_with_line_and_what_was_expected(tmp_path: pathlib.Path, text: str, said: list[str]) -> None:
    path = file_of(tmp_path, text)
    error = refused("--config", path)
    assert path in error
    assert [words for words in said if words not in error] == [], error


VARIABLES = {
    "no dsn": ({"APEX_POSTGRES_DSN": ""}, ["postgres.dsn", "APEX_POSTGRES_DSN", "required", "libpq connection string"]),
    "a dsn with an unknown option": ({"APEX_POSTGRES_DSN": "hots=db dbname=app"}, ["postgres.dsn", "libpq connection string"]),
    "a dsn with a bad port": ({"APEX_POSTGRES_DSN": "postgresql://db:54x2/app"}, ["postgres.dsn", "libpq connection string"]),
    "neo4j by http": ({"APEX_NEO4J_URI": "http://localhost:7474"}, ["neo4j.uri", "APEX_NEO4J_URI", "bolt://"]),
    "qdrant without scheme": ({"APEX_QDRANT_URI": "localhost:6334"}, ["qdrant.uri", "APEX_QDRANT_URI", "6334"]),
    "sentinels without a primary": ({"APEX_REDIS_URI": "redis+sentinel://localhost"}, ["redis.uri", "APEX_REDIS_URI", "redis+sentinel://"]),
    "redis with a named database": ({"APEX_REDIS_URI": "redis://localhost/cache"}, ["redis.uri", "redis://"]),
    "a store's key without its address": ({"APEX_QDRANT_API_KEY": "k"}, ["qdrant.uri", "APEX_QDRANT_URI", "qdrant.api_key"]),
    "an integer with a unit": ({"APEX_ENGINE_LEASE_MS": "2s"}, ["engine.lease_ms", "APEX_ENGINE_LEASE_MS", "an integer", '"2s"']),
    "an unknown level": ({"APEX_LOG_LEVEL": "loud"}, ["log.level", "APEX_LOG_LEVEL", "debug", '"loud"']),
    "a listen address without port": ({"APEX_HTTP_LISTEN": "localhost"}, ["http.listen", "APEX_HTTP_LISTEN", "host:port"]),
    "a secret twice": ({"APEX_HTTP_TOKEN": "t", "APEX_HTTP_TOKEN_FILE": "/dev/null"}, ["http.token", "_FILE", "not both"]),
}


@pytest.mark.parametrize(("given", "said"), VARIABLES.values(), ids=VARIABLES.keys())
def test_a_mistake_in_the_environment_is_named_with_what_was_expected(given: dict[str, str], said: list[str]) -> None:
    error = refused(variables={**ENOUGH, **given})
    assert [words for words in said if words not in error] == [], error


def test_a_mistake_on_the_command_line_and_a_missing_file_are_named(tmp_path: pathlib.Path) -> None:
    assert "http.listen (given on the command line): expected host:port" in refused("--listen", "nonsense")
    missing = str(tmp_path / "none.toml")
    error = refused("--config", missing)
    assert missing in error and "No such file" in error
    assert missing in refused(variables={**ENOUGH, "APEX_CONFIG": missing})
    assert "--loud" in refused("--loud")


def test_a_port_that_is_taken_is_named(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        error = refused("--listen", address)
    assert "http.listen" in error and "APEX_HTTP_LISTEN" in error and address in error and "in use" in error


def test_a_table_that_needs_a_store_that_is_not_configured_stops_the_run_and_the_next_start(quiet_world: World) -> None:
    world = quiet_world
    variables = {name: value for name, value in world.sidecar.variables.items() if "QDRANT" not in name}
    world.pg.execute("CREATE TABLE documents (id bigint PRIMARY KEY, title text, embedding real[])")
    running = world.another_sidecar(variables={**dict.fromkeys(world.sidecar.variables, ""), **variables})
    running.start()
    world.pg.execute("""
        SELECT apex.attach('documents', graph => apex.graph('Document', properties => ARRAY['title']),
                           vector => apex.vector('documents', 'embedding', dimensions => 2));
        INSERT INTO documents VALUES (1, 'x', '{1,2}');
    """)
    wait_until(lambda: not running.running, message="the sidecar goes on")
    for said in (running.log_text(), refused(variables={**variables, "APEX_HTTP_LISTEN": "127.0.0.1:0"})):
        assert "public.documents" in said and "qdrant, which is not configured" in said and "qdrant.uri" in said
    assert world.nodes("Document") == [], "half of a row was written"

    # Configured, the same start goes on where it was stopped.
    world.sidecar.start()
    world.wait_synced()
    assert world.node("Document", id=1)["title"] == "x" and world.point("documents", 1).vector is not None


LEAKS = {
    "TOML that is none": ("[http]\ntoken = '" + SECRET + "\n", {}),
    "a secret of another type": ("[neo4j]\nuri = 'bolt://h'\npassword = 2718281828\n", {}),
    "a secret under a wrong name": (f"[redis]\npasword = '{SECRET}'\n", {}),
    "a password in the address of neo4j": ("", {"APEX_NEO4J_URI": f"bolt://neo4j:{SECRET}@h"}),
    "a password in a wrong address of redis": ("", {"APEX_REDIS_URI": f"redis://:{SECRET}@h:port"}),
    "a dsn that is none": ("", {"APEX_POSTGRES_DSN": SECRET}),
    "a password with a blank in the dsn": ("", {"APEX_POSTGRES_DSN": f"host=h password=first {SECRET}"}),
    "a password in a dsn with a bad port": ("", {"APEX_POSTGRES_DSN": f"postgresql://u:{SECRET}@h:port/d"}),
}


@pytest.mark.parametrize(("text", "given"), LEAKS.values(), ids=LEAKS.keys())
def test_an_error_never_repeats_a_secret(tmp_path: pathlib.Path, text: str, given: dict[str, str]) -> None:
    error = refused("--config", file_of(tmp_path, text), variables={**ENOUGH, **given})
    assert SECRET not in error and "2718281828" not in error, error


def test_no_secret_appears_in_log_answers_or_process_list_when_logins_fail(quiet_world: World, tmp_path: pathlib.Path) -> None:
    world = quiet_world
    nobody = Gate("127.0.0.1", 1)
    try:
        secret_file = tmp_path / "secret"
        secret_file.write_text(SECRET + "\n")
        sidecar = world.another_sidecar({
            "APEX_POSTGRES_PASSWORD_FILE": str(secret_file),
            "APEX_NEO4J_URI": f"bolt://127.0.0.1:{nobody.port}",
            "APEX_NEO4J_PASSWORD": SECRET,
            "APEX_QDRANT_API_KEY": SECRET,
            "APEX_REDIS_URI": f"redis://user:{SECRET}@127.0.0.1:{world.stack.redis.port}",
            "APEX_HTTP_TOKEN": SECRET,
            "APEX_LOG_LEVEL": "trace",
        })
        sidecar.launch()
        wait_until(lambda: "28P01" in sidecar.log_text(), message="PostgreSQL did not refuse the password")
        told = [sidecar.get(path)[1] for path in ("/readyz", "/api/v1/status", "/metrics", "/")]
        told.append(pathlib.Path(f"/proc/{sidecar.pid}/cmdline").read_text())
        # The right one for PostgreSQL, so that the other stores are tried.
        secret_file.write_text(world.stack.postgres.password)
        sidecar.kill()
        told.append(sidecar.log.read_text())
        sidecar.launch()
        down = ("neo4j", "redis")
        reasons = wait_until(lambda: (b := sidecar.get("/readyz")[1]) and all(store in b for store in down) and b)
        told += [reasons, sidecar.get("/api/v1/status")[1], sidecar.log_text()]
        told.append(apex("doctor", variables=sidecar.variables).stdout)
        for text in told:
            assert SECRET not in text and world.stack.postgres.password not in text, text
    finally:
        nobody.close()


def test_flags_go_before_the_environment_and_the_environment_before_the_file(quiet_world: World, tmp_path: pathlib.Path) -> None:
    path = file_of(tmp_path, "[postgres]\ndsn = 'host=127.0.0.1 port=1'\n[log]\nlevel = 'error'\nformat = 'json'\n")
    variables = {"APEX_CONFIG": path, **quiet_world.stack.sidecar_variables(quiet_world.database), "APEX_LOG_LEVEL": "warn"}
    sidecar = Sidecar(tmp_path / "apex", variables)
    sidecar.command = lambda: [*Sidecar.command(sidecar), "--log-level", "info"]  # type: ignore[method-assign]
    sidecar.start()
    lines = [json.loads(line) for line in sidecar.log_text().splitlines()]
    assert {line["level"] for line in lines} == {"info"}
    assert any("leading pipeline default" in line["message"] for line in lines)
    assert all(line.keys() == {"time", "level", "message"} for line in lines)
    sidecar.stop()


def test_help_and_version_say_what_there_is_and_exit_with_zero() -> None:
    helped = apex("--help")
    assert helped.returncode == 0 and helped.stderr == ""
    for word in ("run", "doctor", "status", "retry", "discard", "--config", "--version"):
        assert word in helped.stdout
    version = apex("--version")
    assert version.returncode == 0 and version.stdout.strip().count(".") == 2
    for wrong in ([], ["serve"], ["retry"], ["status", "--yaml"]):
        done = apex(*wrong)
        assert done.returncode == 2 and done.stderr, wrong
