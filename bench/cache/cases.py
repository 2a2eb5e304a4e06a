"""The lines of the table, each against its reference in the same run."""

import concurrent.futures
import http.client
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from common.measure import interleave, seconds
from common.table import Line
from world import ROWS, World

_PATTERNS = 1000
_PACE = 500
_ID = re.compile(rb'"document_id":"(\d+)"')


@dataclass(frozen=True)
class Size:
    rounds: int
    keys: int
    seconds: int


class _Heard:
    """When an event named each row for the last time."""

    def __init__(self, port: int) -> None:
        self.at: dict[int, list[float]] = {}
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"SUBSCRIBE cache_invalidation\r\n")
        self._socket.recv(4096)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        kept = b""
        while received := self._socket.recv(1 << 16):
            now, kept = time.perf_counter(), kept + received
            end = 0
            for found in _ID.finditer(kept):
                self.at.setdefault(int(found[1]), []).append(now)
                end = found.end()
            kept = kept[end:][-512:]


def _percentiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]


def _invalidations(world: World, size: Size, by_hand: bool) -> tuple[float, float]:
    """p50 and p99, in milliseconds, from the acknowledged commit to the event, which comes after the key is gone.

    `by_hand`: of a service that deletes and publishes itself once its commit is acknowledged.
    """
    table = "plain" if by_hand else "documents"
    heard = _Heard(world.redis.port)
    committed: list[tuple[int, float]] = []
    with psycopg.connect(world.postgres.dsn, autocommit=True) as session:
        started = time.perf_counter()
        for turn in range(_PACE * size.seconds):
            time.sleep(max(0.0, started + turn / _PACE - time.perf_counter()))
            row = turn % ROWS
            session.execute(f"UPDATE {table} SET title = %s WHERE id = %s", [f"title {turn}", row], prepare=True)
            committed.append((row, time.perf_counter()))
            if by_hand:
                pipeline = world.client.pipeline(transaction=False)
                pipeline.unlink(f"doc:{row}").publish("cache_invalidation", f'{{"document_id":"{row}"}}').execute()
    world.drain()
    time.sleep(0.2)
    heard.close()
    times = []
    for row, at in committed:
        arrivals = heard.at.get(row, [])
        if arrivals:
            times.append(max(0.0, arrivals.pop(0) - at) * 1000)
    if len(times) < len(committed):
        raise RuntimeError(f"{len(committed) - len(times)} of {len(committed)} changes were not announced")
    return _percentiles(times)


def invalidation(world: World, size: Size) -> Iterator[Line]:
    world.session.execute("CREATE TABLE IF NOT EXISTS plain AS SELECT * FROM documents")
    world.session.execute("CREATE UNIQUE INDEX IF NOT EXISTS plain_id ON plain (id)")
    tails: dict[str, list[float]] = {"here": [], "service": []}

    def side(name: str) -> Callable[[], float]:
        def run() -> float:
            middle, tail = _invalidations(world, size, by_hand=name == "service")
            tails[name].append(tail)
            return middle

        return run

    medians = interleave(size.rounds, {name: side(name) for name in tails})
    here, service = statistics.median(tails["here"]), statistics.median(tails["service"])
    yield Line(
        f"commit → key gone and event heard, {_PACE} changes/s",
        f"a service that deletes and publishes after its commit: p50 {medians['service']:.1f} ms, p99 {service:.1f} ms",
        "p50 ≤ 3 ms, p99 ≤ 10 ms",
        f"p50 {medians['here']:.1f} ms, p99 {here:.1f} ms",
        f"{medians['here'] / medians['service']:.1f}×",
        medians["here"] <= 3 and here <= 10,
    )


def _pass(world: World) -> None:
    world.session.execute("SELECT apex.invalidate_query_cache('query:*' || n || '-*') FROM generate_series(0, %s) n", [_PATTERNS - 1])
    world.drain()


def _changed_during_a_pass(world: World) -> float:
    """How many milliseconds after its commit an entry is gone while a pass is under way."""
    world.client.set("doc:1", "old")
    world.client.config_resetstat()
    with concurrent.futures.ThreadPoolExecutor(1) as pool, psycopg.connect(world.postgres.dsn, autocommit=True) as writer:
        over = pool.submit(_pass, world)
        while "cmdstat_scan" not in world.client.info("commandstats"):
            pass
        began = time.perf_counter()
        writer.execute("UPDATE documents SET title = title || '.' WHERE id = 1")
        while world.client.exists("doc:1"):
            time.sleep(0.001)
        gone = time.perf_counter()
        over.result()
    return (gone - began) * 1000


def patterns(world: World, size: Size) -> Iterator[Line]:
    world.fill(size.keys)
    stale = {f"query:about {number}-": "x" for number in range(_PATTERNS)}
    others = ("redis", world.redis.port, "query:%d:other", 1000)
    tails: dict[str, list[float]] = {"quiet": [], "bare": [], "here": []}
    scans: list[int] = []

    def bare() -> float:
        tails["bare"].append(world.load_during(lambda: world.load("scan", world.redis.port), *others)[1][1])
        return world.load("scan", world.redis.port)[0]

    def pass_for_all() -> float:
        world.client.mset(stale)
        world.client.config_resetstat()

        taken, (_, tail, _) = world.load_during(lambda: _pass(world), *others)
        tails["here"].append(tail)
        if world.client.exists(*stale):
            raise RuntimeError("a key that matches was left")
        scans.append(world.client.info("commandstats")["cmdstat_scan"]["calls"])
        tails["quiet"].append(world.load(*others, 2)[1])
        return taken * 1000

    medians = interleave(size.rounds, {"bare": bare, "here": pass_for_all})
    ratio = medians["here"] / medians["bare"]
    yield Line(
        f"{_PATTERNS:,} pending patterns over {size.keys:,} keys",
        f"one bare SCAN pass: {medians['bare']:.0f} ms",
        "one pass for all, ≤ 1.5×",
        f"{medians['here']:.0f} ms, {statistics.median(scans):.0f} calls of SCAN",
        f"{ratio:.2f}×",
        ratio <= 1.5,
    )
    quiet, during_bare, meanwhile = (statistics.median(tails[name]) for name in ("quiet", "bare", "here"))
    yield Line(
        "p99 of other clients' GET during it",
        f"without it: {quiet:.2f} ms; during the bare pass: {during_bare:.2f} ms",
        "≤ 2×",
        f"{meanwhile:.2f} ms",
        f"{meanwhile / quiet:.2f}×",
        meanwhile <= 2 * quiet,
    )
    changed = statistics.median(_changed_during_a_pass(world) for _ in range(size.rounds))
    yield Line(
        "an entry that changes at its beginning is gone",
        f"the pass: {medians['here']:.0f} ms",
        "",
        f"{changed:.0f} ms after the commit",
        "",
        None,
    )


def tags(world: World, size: Size) -> Iterator[Line]:
    world.fill(size.keys)

    def by_tag() -> float:
        pipeline = world.client.pipeline(transaction=False)
        for number in range(_PATTERNS):
            pipeline.set(f"query:about {number}-", "x", ex=3600)
            pipeline.zadd(f"_apex:tag:doc:{number}", {f"query:about {number}-": 9e15})
        pipeline.execute()
        world.client.config_resetstat()
        world.session.execute("UPDATE documents SET title = title || '!'")
        taken = seconds(world.drain) * 1000
        if "cmdstat_scan" in world.client.info("commandstats"):
            raise RuntimeError("tags were invalidated by SCAN")
        return taken

    medians = interleave(size.rounds, {"bare": lambda: world.load("scan", world.redis.port)[0], "here": by_tag})
    yield Line(
        f"the same through {_PATTERNS:,} tags, with their rows' entries",
        f"one bare SCAN pass: {medians['bare']:.0f} ms",
        "no SCAN at all",
        f"{medians['here']:.0f} ms",
        f"{medians['here'] / medians['bare']:.2f}×",
        True,
    )


def reading(world: World, size: Size) -> Iterator[Line]:
    world.client.flushall()
    for number in range(ROWS):
        world.sidecar.get(f"/api/v1/cache/document/{number}")

    def here() -> float:
        _, tail, answered = world.load("http", world.sidecar.port, "/api/v1/cache/document/%d", 2000, size.seconds)
        if answered < 2000 * size.seconds:
            raise RuntimeError(f"{answered:.0f} of {2000 * size.seconds} requests were answered")
        return tail

    def direct() -> float:
        return world.load("redis", world.redis.port, "doc:%d", 2000, size.seconds)[1]

    medians = interleave(size.rounds, {"here": here, "redis": direct})
    yield Line(
        "read-through, 2,000 requests/s, a connection each: p99",
        f"GET of a local client on open connections: {medians['redis']:.2f} ms",
        "≤ 2 ms",
        f"{medians['here']:.2f} ms",
        f"{medians['here'] / medians['redis']:.1f}×",
        medians["here"] <= 2,
    )


def stampede(world: World, size: Size) -> Iterator[Line]:
    clients = 1000
    series = ['apex_cache_fills_total{result="filled"}', 'apex_cache_fills_total{result="refused"}']

    def ask(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", world.sidecar.port, timeout=60)
        connection.request("GET", "/api/v1/cache/document/7")
        status = connection.getresponse().status
        connection.close()
        return status

    queries = []
    for _ in range(size.rounds):
        world.client.delete("doc:7")
        before = sum(world.metric(each) for each in series)
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            statuses = set(pool.map(ask, range(clients)))
        if statuses != {200}:
            raise RuntimeError(f"answers were {statuses}")
        queries.append(sum(world.metric(each) for each in series) - before)
    yield Line(f"{clients:,} clients that miss one key", "–", "one query", f"{max(queries):.0f}", "–", max(queries) == 1)


CASES: dict[str, Callable[[World, Size], Iterator[Line]]] = {
    "invalidation": invalidation,
    "patterns": patterns,
    "tags": tags,
    "reading": reading,
    "stampede": stampede,
}
