"""What reading costs: rows by their key's time, and events out of a small and a large backlog."""

import concurrent.futures
import contextlib
import os
import statistics
import threading
import time
from collections.abc import Iterator

import psycopg

from cases import CLIENTS, insert_rate
from common.measure import interleave, seconds
from common.table import Line
from world import World

TIMELINES = {"1M": (1_000_000, "1 year"), "10M": (10_000_000, "10 years")}
QUERIES = 200
FEW = 10_000
MANY = int(os.environ.get("BENCH_PENDING", "10_000_000"))
TRANSACTION_ROWS = 100
PIECE_ROWS = 1000
PIECES = 10
HELD_OPEN_ROUNDS_MAX = 3
HELD_OPEN_RUNS = 5
LEASE_MS = 3_600_000


def time_ranges(world: World) -> Iterator[Line]:
    """Over a year and over ten years, so that an hour holds as many rows in both."""
    queries = {
        "newest 10": "SELECT * FROM {} ORDER BY id DESC LIMIT 10",
        "last hour": "SELECT * FROM {} WHERE uuid7_between(id, now() - interval '1 hour', now())",
        "next page": "SELECT * FROM {} WHERE id > (SELECT uuid7_lower_bound(now() - interval '3 days')) ORDER BY id LIMIT 50",
    }
    for size, (rows, span) in TIMELINES.items():
        table = f"timeline_{size.lower()}"
        world.session.execute(
            f"CREATE TABLE {table} AS SELECT uuid7(now() - interval '{span}' * (1 - i / {rows}::float)) AS id, "
            f"'entry ' || i AS title FROM generate_series(1, {rows}) AS i"
        )
        world.session.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        world.session.execute(f"VACUUM (ANALYZE) {table}")
        for name, form in queries.items():
            query = form.format(table)
            plan = "\n".join(row[0] for row in world.session.execute(f"EXPLAIN {query}").fetchall())
            by_index = "Seq Scan" not in plan and f"{table}_pkey" in plan
            ms = 1000 * statistics.median(
                seconds(lambda query=query: world.session.execute(query).fetchall()) for _ in range(QUERIES)
            )
            yield Line(
                f"{name} of {size} rows by uuid7 key",
                "the requirement is 50 ms",
                "≤ 1 ms, by index",
                f"{ms:.2f} ms",
                "index" if by_index else f"not by index:\n{plan}",
                ms <= 1 and by_index,
            )
        world.session.execute(f"DROP TABLE {table}")


class Reader:
    """Leads the pipeline of a database and reads it through the sidecar's functions."""

    def __init__(self, dsn: str) -> None:
        self.session = psycopg.connect(dsn, autocommit=True)
        found = self.session.execute("SELECT epoch FROM apex.lead('default', 'bench', %s)", [LEASE_MS]).fetchone()
        self._epoch = found[0]
        self.after = 0

    def read(self, rows: int) -> int:
        """Reads the next piece and returns how many events it had. They stay in the server: theirs is the time that counts."""
        count, last = self.session.execute(
            "SELECT count(*), max(seq) FROM apex.read_piece('default', %s, %s, %s)", [self._epoch, self.after, rows]
        ).fetchone()
        self.after = last or self.after
        return count

    def settle(self, *, close: bool) -> None:
        """What was read has arrived; with `close` the batch ends here."""
        self.session.execute("SELECT apex.checkpoint('default', %s, %s, '[]', %s)", [self._epoch, self.after, close])
        self.after = 0 if close else self.after


def backlogs(world: World, rounds: int) -> Iterator[Line]:
    """Two databases, so that both are read in turn. Every piece is read for the first time, and has a full look-ahead behind it."""
    readers = {name: _reader(world, name) for name in ("few", "many")}
    _insert(world, "many", MANY, sessions=2)

    def piece(name: str) -> float:
        reader = readers[name]
        if name == "few":
            reader.settle(close=True)
            _insert(world, name, FEW)
        return seconds(lambda: reader.read(PIECE_ROWS))

    found = interleave(
        rounds, {name: lambda name=name: 1000 * statistics.median(piece(name) for _ in range(PIECES)) for name in readers}
    )
    for name, reader in readers.items():
        reader.session.close()
        world.session.execute(f"DROP DATABASE {name}")
    ratio = found["many"] / found["few"]
    yield Line(
        f"a piece of {PIECE_ROWS:,} events, {MANY:,} pending",
        "",
        f"≤ 1.15x of {FEW:,} pending",
        f"{found['many']:.1f} ms; {FEW:,} pending {found['few']:.1f} ms",
        f"{ratio:.2f}x",
        ratio <= 1.15,
    )


def _reader(world: World, database: str) -> Reader:
    """Of a new database with one narrow attached table: what is inserted from now on is pending."""
    world.session.execute(f"CREATE DATABASE {database}")
    with psycopg.connect(world.cluster.dsn_of(database), autocommit=True) as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute("CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int)")
        session.execute("SELECT apex.attach('item', graph => apex.graph('Item', properties => ARRAY['n']))")
    return Reader(world.cluster.dsn_of(database))


def _insert(world: World, database: str, rows: int, *, sessions: int = 1) -> None:
    """Real inserts, a hundred rows a transaction."""

    def insert() -> None:
        with psycopg.connect(world.cluster.dsn_of(database), autocommit=True) as session:
            session.execute("SET synchronous_commit = off")
            session.execute(f"""DO $$ BEGIN
              FOR i IN 1..{rows // sessions // TRANSACTION_ROWS} LOOP
                INSERT INTO item (n) SELECT generate_series(1, {TRANSACTION_ROWS});
                COMMIT;
              END LOOP;
            END $$""")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for inserting in [pool.submit(insert) for _ in range(sessions)]:
            inserting.result()


def held_open(world: World, rounds: int, run_seconds: int) -> Iterator[Line]:
    """Writers at full speed and a reader that keeps up, beside a transaction that has seen and written something, and without."""
    world.session.execute("CREATE EXTENSION IF NOT EXISTS pgstattuple")
    world.session.execute("CREATE TABLE IF NOT EXISTS elsewhere (n int)")
    dead: dict[str, list[int]] = {"without": [], "with": []}
    megabytes: dict[str, list[float]] = {"without": [], "with": []}

    def run(name: str) -> float:
        world.empty()
        with following(world), contextlib.closing(world.cluster.connect()) as other:
            if name == "with":
                other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                other.execute("INSERT INTO elsewhere VALUES (1)")
            rate = insert_rate(world, "attached", HELD_OPEN_RUNS * run_seconds)
            dead[name].append(world.outbox_sum("(pgstattuple(oid)).dead_tuple_count"))
            megabytes[name].append(world.outbox_sum("pg_total_relation_size(oid)") / 1e6)
        return rate

    found = interleave(min(rounds, HELD_OPEN_ROUNDS_MAX), {name: lambda name=name: run(name) for name in dead})
    ratio = found["with"] / found["without"]
    size = {name: statistics.median(values) for name, values in megabytes.items()}
    most_dead = {name: max(values) for name, values in dead.items()}
    yield Line(
        f"single-row INSERT, {CLIENTS} clients and a reader, beside a transaction held open",
        "",
        "as without; no dead outbox tuple",
        f"{found['with']:,.0f}/s, outbox {size['with']:.0f} MB, {most_dead['with']} dead tuples; without "
        f"{found['without']:,.0f}/s, {size['without']:.0f} MB, {most_dead['without']} dead tuples",
        f"{ratio:.0%}",
        ratio >= 0.95 and not any(most_dead.values()),
    )


@contextlib.contextmanager
def following(world: World) -> Iterator[None]:
    """A reader that settles what it reads and rotates the outbox once a second, in a thread of its own."""
    ending = threading.Event()
    reader = Reader(world.cluster.dsn)

    def follow() -> None:
        rotated = time.monotonic()
        while not ending.is_set():
            count = reader.read(PIECE_ROWS)
            if count:
                reader.settle(close=count < PIECE_ROWS)
            else:
                ending.wait(0.01)
            if time.monotonic() - rotated > 1:
                reader.session.execute("SELECT apex.rotate()")
                rotated = time.monotonic()

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        followed = thread.submit(follow)
        try:
            yield
        finally:
            ending.set()
            followed.result()
            reader.session.close()
