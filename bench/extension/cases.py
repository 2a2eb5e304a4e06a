"""What writing costs, and uuid7(): each case measures its sides in turn and says what it found."""

from collections.abc import Callable, Iterator

from common.measure import interleave, seconds
from common.table import Line
from world import World

UUIDS = 2_000_000
ROWS = 200_000
UPDATED_ROWS = 50_000
CLIENTS = 8

COLUMNS = "title, source, body, user_id, created_at, embedding"
_FLOATS = ", ".join(["random()::real"] * 32)
_GENERATED = (
    "SELECT 'Title of document number ' || i, 'https://example.org/' || i, repeat(md5(i::text), 7) || '.', i % 1000, "
    f"clock_timestamp(), ARRAY[{_FLOATS}] FROM generate_series(1, {ROWS}) i"
)
COPIED = f"SELECT {COLUMNS} FROM stock"
_EMBEDDING = "{" + ",".join(f"0.{i:03d}457" for i in range(1, 33)) + "}"


def uuid7(world: World, rounds: int) -> Iterator[Line]:
    def count(function: str) -> float:
        started = world.processor_seconds()
        world.session.execute(f"SELECT count({function}()) FROM generate_series(1, {UUIDS})")
        return world.processor_seconds() - started

    functions = ["bench_empty", "bench_uuid7_unpooled", "gen_random_uuid", "uuid7"]
    found = interleave(rounds, {name: lambda name=name: count(name) for name in functions})
    faster, slower = found["bench_uuid7_unpooled"] / found["uuid7"], found["uuid7"] / found["bench_empty"]
    yield Line(
        "count(uuid7()) over 2M rows",
        "empty 0.17 s; pg_uuidv7 2.0 s",
        "≥ 7x as fast as pg_uuidv7's method, ≤ 1.7x empty",
        f"uuid7 {found['uuid7']:.2f} s; empty {found['bench_empty']:.2f} s; pg_uuidv7's method "
        f"{found['bench_uuid7_unpooled']:.2f} s; gen_random_uuid {found['gen_random_uuid']:.2f} s",
        f"{faster:.1f}x as fast, {slower:.2f}x empty",
        faster >= 7 and slower <= 1.7,
    )


def single_inserts(world: World, rounds: int, run_seconds: int) -> Iterator[Line]:
    for what, settings, reference in (
        ("", "", "no trigger 12,900-14,000/s; PL/pgSQL 10,500-11,500/s, with pg_notify 4,400/s"),
        (", commits not waiting for the disk", "-c synchronous_commit=off", ""),
    ):
        tables = ["plain", "handmade", "notifying", "attached"]
        found = interleave(rounds, _emptied(world, tables, run_seconds, settings))
        share = {name: found[name] / found["plain"] for name in tables}
        yield Line(
            f"single-row INSERT, {CLIENTS} clients{what}",
            reference,
            "≥ 93 % of no trigger",
            f"no trigger {found['plain']:,.0f}/s; PL/pgSQL {found['handmade']:,.0f}/s, with pg_notify "
            f"{found['notifying']:,.0f}/s; attached {found['attached']:,.0f}/s",
            f"{share['attached']:.0%} (PL/pgSQL {share['handmade']:.0%}, with pg_notify {share['notifying']:.0%})",
            share["attached"] >= 0.93,
        )


def inserts_without_preload(rounds: int, run_seconds: int) -> Iterator[Line]:
    """In a cluster that does not preload the extension: memory and worker of the wake-up are then made as needed."""
    with World(ROWS, preload=False) as world:
        found = interleave(rounds, _emptied(world, ["plain", "attached"], run_seconds))
        woken = world.listener.woken
    share = found["attached"] / found["plain"]
    yield Line(
        f"single-row INSERT, {CLIENTS} clients, not preloaded",
        "",
        "≥ 90 % of no trigger",
        f"no trigger {found['plain']:,.0f}/s; attached {found['attached']:,.0f}/s, "
        + (f"a listener woken {woken} times" if woken else "nobody could wake: the listener polls"),
        f"{share:.0%}",
        share >= 0.9,
    )


def insert_rate(world: World, table: str, run_seconds: int, settings: str = "") -> float:
    """Single-row inserts a second."""
    return world.pgbench(one_insert(table) + ";", run_seconds, CLIENTS, settings)


def one_insert(table: str) -> str:
    values = f"'Title of a document', 'https://example.org/a', repeat('0123456789abcdef', 14), 7, now(), '{_EMBEDDING}'"
    return f"INSERT INTO {table} ({COLUMNS}) VALUES ({values})"


def _emptied(world: World, tables: list[str], run_seconds: int, settings: str = "") -> dict[str, Callable[[], float]]:
    def rate(table: str) -> float:
        world.empty()
        return insert_rate(world, table, run_seconds, settings)

    return {table: lambda table=table: rate(table) for table in tables}


def bulk_inserts(world: World, rounds: int) -> Iterator[Line]:
    def load(table: str, rows: str) -> float:
        world.empty()
        return seconds(lambda: world.session.execute(f"INSERT INTO {table} ({COLUMNS}) {rows}"))

    for what, rows, reference in (
        ("made by the SELECT", _GENERATED, "no trigger 1.1-1.4 s; PL/pgSQL 3.5-4.3 s"),
        ("copied from a table", COPIED, ""),
    ):
        sides = {name: lambda name=name, rows=rows: load(name, rows) for name in ("plain", "handmade", "attached")}
        found = interleave(rounds, sides)
        ratio = found["attached"] / found["plain"]
        yield Line(
            f"INSERT ... SELECT of 200,000 rows, {what}",
            reference,
            "≤ 1.5x no trigger",
            f"no trigger {found['plain']:.2f} s; PL/pgSQL {found['handmade']:.2f} s; attached {found['attached']:.2f} s",
            f"{ratio:.2f}x (PL/pgSQL {found['handmade'] / found['plain']:.2f}x)",
            ratio <= 1.5,
        )


def unmapped_updates(world: World, rounds: int) -> Iterator[Line]:
    world.empty()
    for table in ("plain", "handmade", "attached"):
        world.session.execute(f"INSERT INTO {table} ({COLUMNS}) {COPIED} LIMIT {UPDATED_ROWS}")
    events = "SELECT count(*) FROM apex.outbox"
    before = world.session.execute(events).fetchone()

    def update(table: str) -> float:
        world.session.execute(f"VACUUM {table}")
        return seconds(lambda: world.session.execute(f"UPDATE {table} SET views = views + 1"))

    found = interleave(rounds, {name: lambda name=name: update(name) for name in ("plain", "handmade", "attached")})
    ratio = found["attached"] / found["plain"]
    silent = world.session.execute(events).fetchone() == before
    yield Line(
        "UPDATE that changes no mapped column, 50,000 rows",
        "",
        "≤ 1.05x no trigger, no event",
        f"no trigger {found['plain']:.2f} s; PL/pgSQL {found['handmade']:.2f} s; attached {found['attached']:.2f} s",
        f"{ratio:.2f}x (PL/pgSQL {found['handmade'] / found['plain']:.2f}x), {'no event' if silent else 'EVENTS'}",
        ratio <= 1.05 and silent,
    )
