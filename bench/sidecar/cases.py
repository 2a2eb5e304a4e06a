"""The rows of the table, each a case that BENCH_CASES can name."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

import latency
from common.measure import peak_mib, seconds
from common.table import Line
from debezium import STREAM
from stores.sidecar import apex_program
from world import Pipeline, World


# Neo4j compiles what it runs, which takes it about so long; until then it is several times slower, for everybody.
_WARM_SECONDS = 30
_PART_ROWS = 100_000
_STORES = {"neo4j": "Neo4j", "qdrant": "Qdrant", "redis": "Redis"}
# Of the writer that keeps up half of the sustained rate.
_ROWS_PER_COMMIT = 20


@dataclass(frozen=True)
class Size:
    """How much is measured: BENCH_ROUNDS, BENCH_ROWS, BENCH_SECONDS, BENCH_PENDING and BENCH_BACKLOG."""

    rounds: int
    rows: int
    seconds: float
    pending: int
    backlog: int


@dataclass(frozen=True)
class Drained:
    """One backlog that a sidecar has drained."""

    rows_per_second: float
    rows_per_cpu_second: float
    peak_mib: float


def _drain(pipeline: Pipeline, rows: int) -> Drained:
    pipeline.write(rows)
    cpu = pipeline.cpu_seconds()
    took = seconds(pipeline.drain)
    return Drained(rows / took, rows / (pipeline.cpu_seconds() - cpu), pipeline.peak_mib())


def _drains(world: World, size: Size, table: str, variables: Callable[[], dict[str, str]], rows: int) -> Drained:
    """Medians over the rounds."""
    found = []
    for _ in range(size.rounds):
        with world.pipeline(table, variables()) as pipeline:
            found.append(_drain(pipeline, rows))
    middle = lambda part: statistics.median(part(each) for each in found)  # noqa: E731
    return Drained(
        middle(lambda each: each.rows_per_second),
        middle(lambda each: each.rows_per_cpu_second),
        max(each.peak_mib for each in found),
    )


def sink(world: World, size: Size) -> Iterator[Line]:
    found = _drains(world, size, "documents", world.sinks, size.rows)
    yield Line(
        "the sidecar alone, stores that acknowledge at once (bench/sink)",
        "Sequin 20-29k/s on 4 cores, by its own figures",
        "≥ 100,000 rows/s on one core",
        f"{found.rows_per_second:,.0f} rows/s beside PostgreSQL and the sink; at most {found.peak_mib:.0f} MiB resident",
        f"{found.rows_per_cpu_second:,.0f} rows for each second of its processor time",
        found.rows_per_cpu_second >= 100_000,
    )


def redis(world: World, size: Size) -> Iterator[Line]:
    found = _drains(world, size, "notes", world.cache, size.rows)
    with world.pipeline("notes", world.cache()) as pipeline:
        p50, p99 = _latency(world, pipeline, 200, 1, size.seconds)
    yield Line(
        "Redis alone as target (500-byte rows, 32 floats)",
        "Debezium Server 3.0.8: 26-27k rows/s; p50 3.4 ms, p99 8.6 ms at 200 rows/s; 1.99 GB resident",
        "≥ 60k rows/s; p50 ≤ 1.5 ms, p99 ≤ 5 ms",
        f"{found.rows_per_second:,.0f} rows/s; {found.rows_per_cpu_second:,.0f} for each second of its processor time; "
        f"{found.peak_mib:.0f} MiB resident",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        found.rows_per_second >= 60_000 and p50 <= 1.5 and p99 <= 5,
    )


def debezium(world: World, size: Size) -> Iterator[Line]:
    """The peer of `redis`: the same rows, into a stream."""
    rates, peaks = [], []
    for turn in range(size.rounds):
        with world.debezium() as (server, dsn), world.redis.client() as client, psycopg.connect(dsn, autocommit=True) as session:

            def read(rows: int) -> None:
                while client.xlen(STREAM) < rows:
                    time.sleep(0.01)

            session.execute("SELECT count(*) FROM write_notes(0, 1)")
            read(1)
            session.execute("SELECT count(*) FROM write_notes(1, %s)", [size.rows])
            rates.append(size.rows / seconds(lambda: read(1 + size.rows)))  # noqa: B023
            peaks.append(peak_mib(server.pid))
            if turn + 1 == size.rounds:
                latency.write_at_pace(dsn, "notes", 200, 1, _WARM_SECONDS)
                arrivals = latency.StreamArrivals(world.redis.client(), STREAM)
                p50, p99 = _observed(arrivals, latency.write_at_pace(dsn, "notes", 200, 1, size.seconds))
    yield Line(
        "Debezium Server into a Redis stream, the same rows",
        "26-27k rows/s; p50 3.4 ms, p99 8.6 ms at 200 rows/s; 1.99 GB resident",
        "",
        f"{statistics.median(rates):,.0f} rows/s; {max(peaks):,.0f} MiB resident",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        None,
    )


def _observed(arrivals: latency.Arrivals | latency.StreamArrivals, committed: dict[str, float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds, once all rows have arrived."""
    try:
        deadline = time.monotonic() + 10
        while committed.keys() - arrivals.at.keys() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        arrivals.close()
    # A row that never arrived fails here.
    return latency.percentiles([1000 * max(0.0, arrivals.at[row] - at) for row, at in committed.items()])


def _latency(world: World, pipeline: Pipeline, rate: float, rows_per_commit: int, span: float) -> tuple[float, float]:
    """p50 and p99 in milliseconds from the acknowledged commit to the event that follows the last store."""
    arrivals = latency.Arrivals(world.redis.port)
    committed = latency.write_at_pace(pipeline.dsn, pipeline.table, rate, rows_per_commit, span)
    pipeline.drain()
    return _observed(arrivals, committed)


def _write_in_parts(pipeline: Pipeline, rows: int) -> None:
    for first in range(0, rows, _PART_ROWS):
        pipeline.write(min(_PART_ROWS, rows - first))


def memory(world: World, size: Size) -> Iterator[Line]:
    with world.pipeline("notes", world.sinks(), "notes_everywhere") as pipeline:
        pipeline.sidecar.stop()
        _write_in_parts(pipeline, size.pending)
        pipeline.sidecar.start()
        pipeline.drain(3600)
        peak = pipeline.peak_mib()
        cpu = pipeline.cpu_seconds()
        time.sleep(size.seconds)
        idle = (pipeline.cpu_seconds() - cpu) / size.seconds
    yield Line(
        f"memory with {size.pending:,} events pending, and processor time when idle",
        "",
        "≤ 64 MiB resident with 10M; ≤ 0.5 % of a core",
        f"at most {peak:.0f} MiB resident",
        f"{idle:.2%} of a core when idle",
        peak <= 64 and idle <= 0.005,
    )


def _peer(program: str, uris: dict[str, str], *options: str) -> dict[str, Any]:
    """Runs a program of bench/peers against these stores, which are empty, and returns what it prints."""
    named = [word for store, uri in uris.items() for word in (f"--{store}", uri)]
    path = pathlib.Path(__file__).resolve().parents[1] / "peers" / program
    ran = subprocess.run([sys.executable, str(path), *named, *options], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def _beside_loaders(
    world: World, size: Size, stores: Callable[[], dict[str, str]], uris: Callable[[], dict[str, str]]
) -> tuple[float, dict[str, float]]:
    """Rows a second of the sidecar and of the official clients, by store and of all, in turn; medians."""
    loaded: list[dict[str, float]] = []
    drained: list[Drained] = []

    def load() -> None:
        stores()
        loaded.append(_peer("bulk_loaders.py", uris(), "--rows", str(size.rows)))

    def drain() -> None:
        with world.pipeline("documents", stores()) as pipeline:
            drained.append(_drain(pipeline, size.rows))

    for turn in range(1 + size.rounds):
        for side in (load, drain) if turn % 2 == 0 else (drain, load):
            side()
        if turn == 0:  # The stores are warm now.
            loaded.clear()
            drained.clear()
    rate = statistics.median(each.rows_per_second for each in drained)
    return rate, {store: statistics.median(each[store] for each in loaded) for store in loaded[0]}


def _loaders_text(loaders: dict[str, float]) -> str:
    by_store = ", ".join(f"{name} {loaders[store]:,.0f}" for store, name in _STORES.items() if store in loaders)
    return f"bulk loaders {loaders['all']:,.0f} ({by_store})"


def _latencies(world: World, size: Size, variables: dict[str, str], rate: float) -> tuple[tuple[float, float], ...]:
    """p50 and p99 at half of the sustained rate and at 200 rows/s."""
    with world.pipeline("documents", variables) as pipeline:
        paces = ((rate / 2, _ROWS_PER_COMMIT), (200, 1))
        for pace in reversed(paces):
            latency.write_at_pace(pipeline.dsn, pipeline.table, *pace, _WARM_SECONDS)
        return tuple(_latency(world, pipeline, *pace, size.seconds) for pace in paces)


def stores(world: World, size: Size) -> Iterator[Line]:
    uris = lambda: {"neo4j": world.neo4j.uri, "qdrant": world.qdrant.uri, "redis": world.redis.uri}  # noqa: E731
    rate, loaders = _beside_loaders(world, size, world.stores, uris)
    variables = world.stores()
    span = str(size.seconds / 2)
    service = _peer("self_writing_service.py", uris(), "--postgres", world.postgres.dsn, "--seconds", span)
    share, times = rate / loaders["all"], rate / service["documents_per_second"]
    yield Line(
        "sustained rows/s into all stores (384 dimensions, 5 properties, 1 relationship, 2 cache keys), Qdrant the embedded engine",
        "bulk loaders 12,100; a self-writing service 180/s",
        "≥ 85 % of the bulk loaders; ≥ 50x the self-writing service",
        f"{rate:,.0f} rows/s; {_loaders_text(loaders)}; service {service['documents_per_second']:,.0f}",
        f"{share:.0%} of the loaders, {times:.0f}x the service",
        share >= 0.85 and times >= 50,
    )
    half, slow = _latencies(world, size, variables, rate)
    yield Line(
        "commit to readable in all stores, Qdrant the embedded engine",
        "that service at one client: p50 4.9 ms, p99 11.6 ms, inside the user's request",
        "p50 ≤ 5 ms, p99 ≤ 20 ms at 200 rows/s; p99 ≤ 100 ms at half of the sustained rate",
        f"at half of the sustained rate, {rate / 2:,.0f} rows/s: p50 {half[0]:.1f} ms, p99 {half[1]:.1f} ms; the service at one client "
        f"p50 {service['p50_ms']:.1f} ms, p99 {service['p99_ms']:.1f} ms",
        f"p50 {slow[0]:.1f} ms, p99 {slow[1]:.1f} ms at 200 rows/s",
        slow[0] <= 5 and slow[1] <= 20 and half[1] <= 100,
    )


def graph(world: World, size: Size) -> Iterator[Line]:
    uris = lambda: {"neo4j": world.neo4j.uri, "redis": world.redis.uri}  # noqa: E731
    rate, loaders = _beside_loaders(world, size, world.graph_and_cache, uris)
    half, slow = _latencies(world, size, world.graph_and_cache(), rate)
    yield Line(
        "the same, Qdrant a sink: sustained rows/s",
        "bulk loaders of the other two stores",
        "≥ 85 % of the bulk loaders",
        f"{rate:,.0f} rows/s; {_loaders_text(loaders)}",
        f"{rate / loaders['all']:.0%} of the loaders",
        rate >= 0.85 * loaders["all"],
    )
    yield Line(
        "the same, Qdrant a sink: commit to readable",
        "",
        "p50 ≤ 5 ms, p99 ≤ 20 ms at 200 rows/s; p99 ≤ 100 ms at half of the sustained rate",
        f"at half of the sustained rate, {rate / 2:,.0f} rows/s: p50 {half[0]:.1f} ms, p99 {half[1]:.1f} ms",
        f"p50 {slow[0]:.1f} ms, p99 {slow[1]:.1f} ms at 200 rows/s",
        slow[0] <= 5 and slow[1] <= 20 and half[1] <= 100,
    )


def backlog(world: World, size: Size) -> Iterator[Line]:
    """Neo4j is away while rows are written, and comes back."""
    with world.pipeline("documents", world.stores()) as pipeline:
        world.neo4j.stop()
        _write_in_parts(pipeline, size.backlog)
        world.neo4j.start()
        took = seconds(lambda: pipeline.drain(3600))
        parked, peak = pipeline.parked, pipeline.peak_mib()
    yield Line(
        f"backlog of {size.backlog:,} rows after an outage of Neo4j",
        "",
        "1M drain at the sustained rate, no event parked",
        f"{size.backlog / took:,.0f} rows/s, the first connection included; {peak:.0f} MiB resident",
        f"{parked} parked",
        parked == 0,
    )


def verify(world: World, size: Size) -> Iterator[Line]:
    with world.pipeline("documents", world.stores()) as pipeline:
        written = seconds(lambda: (_write_in_parts(pipeline, size.rows), pipeline.drain(3600)))
        command = [str(apex_program()), "verify", "--table", "documents"]
        took, peaks = [], []
        for _ in range(size.rounds):
            started = time.perf_counter()
            process = subprocess.Popen(command, env={**os.environ, **pipeline.sidecar.variables}, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise RuntimeError("the stores differ from PostgreSQL")
            took.append(time.perf_counter() - started)
            peaks.append(usage.ru_maxrss / 1024)
    yield Line(
        f"verify of {size.rows:,} equal rows in all stores",
        f"to write them: {written:.0f} s",
        "",
        f"{statistics.median(took):.1f} s; {max(peaks):.0f} MiB resident",
        "",
        None,
    )


CASES: dict[str, Callable[[World, Size], Iterator[Line]]] = {
    "sink": sink,
    "redis": redis,
    "debezium": debezium,
    "memory": memory,
    "stores": stores,
    "graph": graph,
    "backlog": backlog,
    "verify": verify,
}
