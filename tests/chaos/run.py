"""Chaos: real processes under random load while they are killed, stopped and cut off; then every row against every store.

    make chaos SECONDS=600 SEED=7

Prints the faults injected, the rows written, and how many are lost, stale or left half-applied. The exit code is 0 only when
all three are none. A seed draws the same load and the same faults again; when they meet is the machine's doing.
"""

import argparse
import contextlib
import pathlib
import random
import secrets
import statistics
import sys
import time
from collections.abc import Mapping

_ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "tools"), str(_ROOT / "tests" / "integration")]

import psycopg  # noqa: E402
from command import apex  # noqa: E402
from compare import Comparison, count, differences, half_applied, without_stubs  # noqa: E402
from faults import LEASE_SECONDS, STORE_TIMEOUT_SECONDS, Faults  # noqa: E402
from gated import Gated  # noqa: E402
from stores import SIDECAR_ROLE, Redis, Sidecar, runtime_directory  # noqa: E402
from stores.stack import Stack  # noqa: E402
from traffic import MEND, SCHEMA, Writers  # noqa: E402
from world import wait_until  # noqa: E402

REPLICAS = 3
SHOWN_MAX = 20
# After the last fault: for what is left of backoffs, deadlines and the backlog.
CALM_SECONDS = 240
IMPATIENT = {
    "APEX_ENGINE_LEASE_MS": str(int(LEASE_SECONDS * 1000)),
    "APEX_ENGINE_STORE_TIMEOUT_MS": str(int(STORE_TIMEOUT_SECONDS * 1000)),
    "APEX_ENGINE_BACKOFF_MAX_MS": "1000",
    "APEX_LOG_LEVEL": "debug",
}


class Replicas:
    """One pipeline's processes, each with gates of its own in front of every store."""

    def __init__(self, stack: Stack, database: str, directory: pathlib.Path) -> None:
        self.stack, self.database = stack, database
        self._directory = directory
        self._made = 0
        self.all = [Gated(self, IMPATIENT) for _ in range(REPLICAS)]  # type: ignore[arg-type]

    def another_sidecar(self, variables: Mapping[str, str]) -> Sidecar:
        self._made += 1
        return Sidecar(self._directory / f"apex-{self._made}", variables)

    def start(self) -> None:
        for each in self.all:
            each.sidecar.launch()
        for each in self.all:
            each.sidecar.wait_ready()

    def stop(self) -> None:
        for each in self.all:
            each.sidecar.kill()
            each.close()


class Run:
    def __init__(self, options: argparse.Namespace, stack: Stack, directory: pathlib.Path) -> None:
        self._options, self._stack = options, stack
        self._database = f"chaos_{secrets.token_hex(4)}"
        with stack.postgres.connect() as admin:
            admin.execute(f"CREATE DATABASE {self._database}")
        with self._connect() as session:
            session.execute("CREATE EXTENSION apex_saga")
            session.execute("SELECT apex.grant_sidecar(%s)", [SIDECAR_ROLE])
            session.execute(SCHEMA)
        self._replicas = Replicas(stack, self._database, directory)
        self._events = (directory / "faults.log").open("w")
        self.log = pathlib.Path(self._events.name)

    def go(self) -> int:
        self._replicas.start()
        writers = Writers(self._stack.postgres.dsn_of(self._database), self._options.seed, 4, 0.02)
        faults = Faults(self._stack, self._replicas.all, self._options.seed, log=self._note)
        writers.start()
        faults.start()
        deadline = time.monotonic() + self._options.seconds
        wait_until(lambda: time.monotonic() > deadline or writers.failures or faults.failures, self._options.seconds + 60)
        faults.stop()
        takeovers = [self._take_over() for _ in range(self._options.takeovers)]
        writers.stop()
        broken = [*writers.failures, *faults.failures]

        parked = self._drain()
        comparison = Comparison(self._stack, self._database)
        held = comparison.held()
        found = [each for each in differences(held, comparison.wanted(held)) if each.row not in parked]
        half = half_applied(held, parked)
        # What was refused is mended; what was to be deleted with it is sent again.
        with self._connect() as session:
            session.execute(MEND)
            session.execute("SELECT apex.retry(id) FROM apex.failed_sagas")
        left = self._drain()
        held = comparison.held()
        found += differences(held, comparison.wanted(held))
        found, stubs = without_stubs(found)
        half += [f"{table} {key} is still parked" for table, key in left]
        comparison.close()
        verified = apex("verify", variables=self._stack.sidecar_variables(self._database), seconds=CALM_SECONDS)

        written = writers.total()
        sums = count(found)
        faults_said = ", ".join(f"{number} {what}" for what, number in faults.counts.most_common())
        say(f"seed               {self._options.seed}")
        say(f"faults injected    {faults.counts.total()} ({faults_said})")
        say(f"rows written       {written.rows} in {written.transactions} transactions; {written.rolled_back} were rolled back")
        say(f"refused rows       {len(parked)} parked when the faults were over, and mended")
        if takeovers:
            say(f"takeover           median {statistics.median(takeovers):.2f} s, longest {max(takeovers):.2f} s of {len(takeovers)}")
        say(f"lost               {sums['lost']}")
        say(f"stale              {sums['stale']}")
        say(f"left half-applied  {len(half)}")
        say(f"unused stubs       {stubs}")
        say(f"apex verify        {'agrees' if verified.returncode == 0 else 'does not agree'}")
        disagreeing = [] if verified.returncode == 0 else (verified.stdout + verified.stderr).splitlines()
        for line in [*map(str, found), *half, *map(repr, broken), *disagreeing][:SHOWN_MAX]:
            say(f"  {line}")
        return 1 if found or half or broken or disagreeing else 0

    def close(self) -> None:
        self._replicas.stop()
        self._events.close()
        with self._stack.postgres.connect() as admin:
            admin.execute(f"DROP DATABASE {self._database} WITH (FORCE)")

    def _connect(self) -> psycopg.Connection:
        return self._stack.postgres.connect(self._database)

    def _drain(self) -> set[tuple[str, object]]:
        """Waits until everything committed is in the stores or parked, and returns the parked rows."""
        with self._connect() as session:
            said = session.execute(f"CALL apex.wait_synced(apex.position(), '{CALM_SECONDS} s', NULL)").fetchone()
            assert said is not None and said[0] != "timeout", f"not through after {CALM_SECONDS} s: {self._status(session)}"
            wait_until(lambda: not session.execute("SELECT FROM apex.sagas").fetchall(), CALM_SECONDS, "a compensation is not over")
            rows = session.execute("SELECT relation::text, key ->> 0 FROM apex.saga_row").fetchall()
        return {(table, key if table == "documents" else int(key)) for table, key in rows}

    def _status(self, session: psycopg.Connection) -> object:
        return session.execute("SELECT apex.status()").fetchone()

    def _take_over(self) -> float:
        """Kills the leader of three that are well, under load; returns after how many seconds another one leads."""
        for each in self._replicas.all:
            each.sidecar.wait_ready()
        leader = wait_until(lambda: next((each for each in self._replicas.all if leads(each.sidecar)), None))
        others = [each for each in self._replicas.all if each is not leader]
        leader.sidecar.kill()
        killed = time.monotonic()
        wait_until(lambda: any(leads(each.sidecar) for each in others))
        taken = time.monotonic() - killed
        leader.sidecar.launch()
        return taken

    def _note(self, event: str) -> None:
        self._events.write(event + "\n")
        self._events.flush()


def leads(sidecar: Sidecar) -> bool:
    return "\napex_leader 1\n" in sidecar.get("/metrics")[1]


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for how long there is load and faults (default: %(default).0f)")
    parser.add_argument("--seed", type=int, help="of the load and the faults (default: a new one)")
    parser.add_argument("--takeovers", type=int, default=0, help="kill the leader this often at the end, and time its successor")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10**6)

    directory = runtime_directory("chaos")
    stack = Stack(directory)
    # It keeps what it has said to have, so that every entry counts.
    stack.redis = Redis(directory / "redis", appendonly=True)
    with contextlib.ExitStack() as ending:
        ending.callback(stack.down)
        stack.up()
        empty(stack)
        say(f"chaos: {options.seconds:.0f} s, seed {options.seed}, its logs are in {directory}")
        run = Run(options, stack, directory)
        ending.callback(run.close)
        return run.go()


def empty(stack: Stack) -> None:
    """What an earlier run left."""
    with stack.neo4j.driver() as driver:
        driver.execute_query("MATCH (n) DETACH DELETE n")
    client = stack.qdrant.client()
    for collection in client.get_collections().collections:
        client.delete_collection(collection.name)
    client.close()
    with stack.redis.client() as cache:
        cache.flushall()


if __name__ == "__main__":
    sys.exit(main())
