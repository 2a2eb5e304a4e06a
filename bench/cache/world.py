"""What `make bench-cache` measures with: PostgreSQL, Redis and a sidecar that serves one table of a thousand rows."""

import os
import subprocess
import time
from collections.abc import Callable

import psycopg
from common.measure import seconds

from stores import ROOT, SIDECAR_ROLE, Postgres, Redis, Sidecar, runtime_directory

ROWS = 1000
_SCHEMA = f"""
CREATE EXTENSION apex_saga;
CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL);
INSERT INTO documents SELECT n, 'Title of document number ' || n FROM generate_series(0, {ROWS - 1}) n;
SELECT apex.attach('documents', cache => apex.cache('document', invalidate => '{{}}', tags => ARRAY['doc:{{id}}']));
"""
_LOAD = ROOT / "build" / "release" / "bench_cache_load"


class World:
    """Everything runs from the beginning to the end."""

    def __init__(self) -> None:
        directory = runtime_directory("bench-cache")
        self.postgres = Postgres(directory / "postgres", fsync=True, settings={"autovacuum": "off"})
        self.redis = Redis(directory / "redis")
        self._directory = directory

    def __enter__(self) -> "World":
        self._end()  # what an interrupted run left
        self.postgres.start()
        self.redis.start()
        self.client = self.redis.client()
        self.client.flushall()
        self.session = psycopg.connect(self.postgres.dsn, autocommit=True)
        self.session.execute(_SCHEMA)
        self.session.execute("SELECT apex.grant_sidecar(%s)", [SIDECAR_ROLE])
        variables = {"APEX_POSTGRES_DSN": self.postgres.sidecar_dsn, "APEX_REDIS_URI": self.redis.uri}
        self.sidecar = Sidecar(self._directory / "apex", variables)
        self.sidecar.start()
        self.drain()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self._end()

    def _end(self) -> None:
        Sidecar(self._directory / "apex", {}).stop()
        self.redis.stop()
        self.postgres.remove()

    def drain(self) -> None:
        """Returns when everything committed so far is invalidated."""
        result = self.session.execute("CALL apex.wait_synced(apex.position(), '10 minutes', NULL)").fetchone()[0]
        if result != "synced":
            raise RuntimeError(f"what was written was not invalidated: {result}\n{self.sidecar.log_tail()}")

    def fill(self, keys: int) -> None:
        """So many keys of an application, which nothing invalidates."""
        self.client.flushall()
        self.client.eval("for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'query:' .. i .. ':other', i) end", 0, keys)

    def load(self, *arguments: object) -> list[float]:
        return self._words(self._start(*arguments).communicate())

    def load_during(self, action: Callable[[], object], *arguments: object) -> tuple[float, list[float]]:
        """How many seconds `action` took, and what a load says that counts only what fell into them."""
        load = self._start(*arguments)
        time.sleep(0.3)  # its connections are made
        load.stdin.write("now\n")
        load.stdin.flush()
        taken = seconds(action)
        return taken, self._words(load.communicate())

    @staticmethod
    def _words(printed: tuple[str, str]) -> list[float]:
        return [float(word) for word in printed[0].split()]

    @staticmethod
    def _start(*arguments: object) -> subprocess.Popen[str]:
        command = [str(_LOAD), *(str(argument) for argument in arguments)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))

    def metric(self, series: str) -> float:
        for line in self.sidecar.get("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        raise KeyError(series)
