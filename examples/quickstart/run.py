"""`make quickstart`: starts everything, loads this machine's package database, and shows what arrived where.

Everything it starts stays up; `make quickstart-stop` ends it. A second run uses the servers it finds and loads afresh.
"""

import argparse
import contextlib
import pathlib
import re
import subprocess
import sys
import threading
import traceback

import packages as package_database
import terminal
from load import load
from packages import Package
from show import Show, search
from stores import ROOT, ServerError
from world import World

_LOGS = ROOT / "build" / "quickstart"
_NINJA_PROGRESS = re.compile(r"^\[(\d+/\d+)\]")


class CommandFailed(RuntimeError):
    pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stop", action="store_true", help="end what an earlier run left up")
    parser.add_argument("--search", metavar="TEXT", help="ask Qdrant for the paragraphs nearest to TEXT")
    parser.add_argument("--cypher", metavar="QUERY", help="ask Neo4j")
    options = parser.parse_args()
    _LOGS.mkdir(parents=True, exist_ok=True)
    try:
        if options.stop:
            return stop()
        if options.search or options.cypher:
            return ask(options.search, options.cypher)
        return quickstart()
    except (ServerError, CommandFailed, PermissionError) as failed:
        print(f"\n{terminal.red('quickstart:')} {failed}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nquickstart: interrupted; `make quickstart-stop` ends what is up", file=sys.stderr)
    except Exception as failed:  # noqa: BLE001 - a user is told in a sentence, the trace goes to a file
        log = _LOGS / "error.log"
        log.write_text(traceback.format_exc())
        first_line = str(failed).strip().partition("\n")[0]
        print(f"\n{terminal.red('quickstart:')} {type(failed).__name__}: {first_line}\nThe whole story is in {log}", file=sys.stderr)
    return 1


def quickstart() -> int:
    terminal.heading(
        "Apex Saga: one row, four databases",
        "Builds the extension and the sidecar, starts a private PostgreSQL, Redis, Neo4j and Qdrant on free ports, and "
        "writes this machine's package database into PostgreSQL alone.",
    )
    read = read_packages()
    world = World()
    start(world)
    with contextlib.ExitStack() as clients:
        session = clients.enter_context(world.session())
        graph = clients.enter_context(world.stack.neo4j.driver())
        vectors = clients.enter_context(contextlib.closing(world.stack.qdrant.client()))
        cache = clients.enter_context(world.stack.redis.client())
        arrive(world, read)
        show = Show(world, session, graph, vectors, cache)
        show.same_document(read)
        show.graph_question(read)
        show.semantic_search()
        show.cache(read)
        show.poison()
        equal = show.counts()
    farewell(world)
    if not equal:
        raise CommandFailed(f"the stores do not hold what PostgreSQL holds: see {world.sidecar.log}")
    return 0


def read_packages() -> list[Package]:
    if not package_database.STATUS.exists():
        raise CommandFailed(f"{package_database.STATUS} is missing: the quickstart loads Debian's package database")
    return package_database.installed()


def start(world: World) -> None:
    terminal.heading("Getting ready")
    # Fetching and starting Neo4j takes longest and needs no compiler.
    early = Background(world.stack.neo4j.start)
    with terminal.step("the sidecar") as step:
        run("build", ["tools/build.sh", "build/release", "apex"], step)
        step.result = "build/release/bin/apex"
    with terminal.step("the PostgreSQL extension") as step:
        run("extension", ["make", "install-extension"], step)
        step.result = "apex_saga"
    with terminal.step("the four stores") as step:
        step.note = "Neo4j is fetched from Maven Central the first time"
        early.join()
        # One that is still up may have an older build of the extension loaded.
        world.stack.postgres.stop()
        world.stack.up()
        step.result = "PostgreSQL, Redis, Neo4j, Qdrant"
    with terminal.step("an empty database"):
        world.start_afresh()
    with terminal.step("apex run") as step:
        world.start_sidecar()
        step.result = world.sidecar.http


def arrive(world: World, read: list[Package]) -> None:
    """Loads, and watches the rows arrive."""
    terminal.heading("Loading this machine's packages", "One transaction for each package and the paragraphs of its description.")
    with world.session() as session, world.stack.neo4j.driver() as graph:
        written = terminal.Bar("written to PostgreSQL", len(read), "packages")
        load(session, read, written.at)
        written.done()
        wanted = session.execute(
            "SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM chunks) + (SELECT count(*) FROM entities)"
        ).fetchone()[0]  # type: ignore[index]
        arrived = terminal.Bar("in Neo4j, Qdrant and Redis", wanted, "rows")
        waiting = Background(lambda: world.wait(session))
        while not waiting.ended(0.1):
            found = graph.execute_query("MATCH (n) WHERE n._apex_seq IS NOT NULL RETURN count(n) AS many").records[0]["many"]
            arrived.at(found)
        waiting.join()
        arrived.done()


def farewell(world: World) -> None:
    stack = world.stack
    terminal.heading("Everything is up")
    terminal.table(
        [
            ("PostgreSQL", world.dsn),
            ("Neo4j", f"{stack.neo4j.uri}   user {stack.neo4j.user}, password {stack.neo4j.password}"),
            ("Qdrant", f"{stack.qdrant.uri}   (gRPC)"),
            ("Redis", stack.redis.uri),
            ("console", f"{world.sidecar.http}/   (also /metrics, /readyz, /api/v1/status)"),
            ("logs", str(world.directory)),
        ]
    )
    terminal.heading("What to try next")
    home = pathlib.Path("examples/quickstart/run.py")
    python = "build/venv/bin/python"
    terminal.code(
        f"""
        . {world.environment_file}     # for the commands below
        psql -c "UPDATE documents SET title = 'my own words' WHERE name = 'bash'"
        redis-cli -u $APEX_REDIS_URI get doc:$(psql -Atc "SELECT id FROM documents WHERE name = 'bash'")
        {python} {home} --search "secure remote login"
        {python} {home} --cypher "MATCH (d:Document {{name: 'bash'}})-[r]->(n) RETURN type(r), n.name"
        build/release/bin/apex status
        build/release/bin/apex verify          # compares every row with every store
        make quickstart-stop
        """
    )


def stop() -> int:
    with terminal.step("ending the quickstart"):
        World().stop()
    return 0


def ask(text: str | None, query: str | None) -> int:
    world = World()
    if not world.stack.postgres.running:
        raise CommandFailed("the quickstart is not up: run `make quickstart`")
    if text:
        with world.session() as session, contextlib.closing(world.stack.qdrant.client()) as vectors:
            search(session, vectors, text)
    if query:
        with world.stack.neo4j.driver() as graph:
            found = graph.execute_query(query)
            terminal.table([record.values() for record in found.records], header=found.keys)
    return 0


class Background:
    """Runs `work` in a thread; `join` raises what it raised."""

    def __init__(self, work) -> None:  # noqa: ANN001
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self, work) -> None:  # noqa: ANN001
        try:
            work()
        except BaseException as failed:  # noqa: BLE001 - handed to whoever joins
            self._failure = failed


def run(name: str, command: list[str], step: terminal.Step) -> None:
    """A command whose output goes to a log; its progress, when it is ninja's, is shown."""
    log = _LOGS / f"{name}.log"
    with log.open("w") as kept:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            kept.write(line)
            if found := _NINJA_PROGRESS.match(line):
                step.note = f"compiling {found[1]}"
        if process.wait() != 0:
            kept.flush()
            tail = "".join("  | " + line for line in log.read_text().splitlines(keepends=True)[-20:])
            raise CommandFailed(f"{' '.join(command)} failed:\n{tail}  The whole log is {log}")


if __name__ == "__main__":
    sys.exit(main())
