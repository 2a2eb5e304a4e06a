"""From commit to readable: a writer with a pace, and a listener on the channel that says what every store holds."""

import re
import socket
import threading
import time

import psycopg
import redis

_ID = re.compile(rb'"document_id":"([0-9a-f-]{36})"')
_AFTER = re.compile(r'"after":\{"id":"([0-9a-f-]{36})"')
# Longer than a message with its framing, so that none is cut in two between two receptions.
_KEPT_BYTES = 512
_RECEIVE_BYTES = 1 << 18


class Arrivals:
    """When each row's event was published, which the sidecar does once all of its stores hold the row.

    Reads the socket itself: at thousands of events a second a client library would be what is measured.
    """

    def __init__(self, port: int) -> None:
        self.at: dict[str, float] = {}
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"SUBSCRIBE cache_invalidation\r\n")
        self._socket.recv(_RECEIVE_BYTES)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        kept = b""
        while received := self._socket.recv(_RECEIVE_BYTES):
            now = time.perf_counter()
            kept += received
            for row in _ID.findall(kept):
                self.at.setdefault(row.decode(), now)
            kept = kept[-_KEPT_BYTES:]


class StreamArrivals:
    """When each row's entry could be read from a stream, by the id of its `after`."""

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self.at: dict[str, float] = {}
        self._client = client
        self._stream = stream
        self._last = client.xinfo_stream(stream)["last-generated-id"]
        self._done = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._done = True
        self._thread.join()
        self._client.close()

    def _listen(self) -> None:
        while not self._done:
            for _, entries in self._client.xread({self._stream: self._last}, block=100):
                now = time.perf_counter()
                for self._last, fields in entries:
                    for value in fields.values():
                        for row in _AFTER.findall(value):
                            self.at.setdefault(row, now)


def write_at_pace(dsn: str, table: str, rows_per_second: float, rows_per_commit: int, seconds: float) -> dict[str, float]:
    """Commits rows at even intervals and returns when each commit was acknowledged.

    A commit that is late does not move the next one: the pace holds, and what piles up shows.
    """
    committed: dict[str, float] = {}
    with psycopg.connect(dsn, autocommit=True) as session:
        interval = rows_per_commit / rows_per_second
        started = time.perf_counter()
        for turn in range(int(seconds / interval)):
            time.sleep(max(0.0, started + turn * interval - time.perf_counter()))
            first = 1 + turn * rows_per_commit
            rows = session.execute(
                f"SELECT row::text FROM write_{table}(%s, %s) row", [first, rows_per_commit], prepare=True
            ).fetchall()
            now = time.perf_counter()
            committed.update((row[0], now) for row in rows)
    return committed


def percentiles(values: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
