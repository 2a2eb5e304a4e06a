"""The servers that `make bench` measures with, and one pipeline at a time through them."""

import contextlib
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

import psycopg

from common.measure import peak_mib
from debezium import Debezium
from stores import ROOT, SIDECAR_ROLE, Neo4j, Postgres, Qdrant, Redis, Server, Sidecar, runtime_directory

_HERE = pathlib.Path(__file__).resolve().parent
_PORTS = re.compile(r"^READY bolt=(\d+) qdrant=(\d+) redis=(\d+)$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")
# Commits are flushed, as everywhere. What comes at its own time, checkpoints and vacuum, does not come in between.
_SETTINGS = {"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "8GB", "shared_buffers": "512MB"}

# The collector that Neo4j itself comes with, and room for the graph.
_NEO4J_JVM = "-Xms2g -Xmx2g -XX:+UseG1GC"


class Sink(Server):
    """Neo4j, Qdrant and Redis that acknowledge everything at once: bench/sink."""

    name = "sink"

    def command(self) -> Sequence[str]:
        return [str(ROOT / "build" / "release" / "bench_sink")]

    def is_ready(self) -> bool:
        return _PORTS.search(self.log_text()) is not None

    @property
    def variables(self) -> dict[str, str]:
        bolt, qdrant, redis = _PORTS.search(self.log_text()).groups()
        return {
            "APEX_NEO4J_URI": f"bolt://127.0.0.1:{bolt}",
            "APEX_QDRANT_URI": f"http://127.0.0.1:{qdrant}",
            "APEX_REDIS_URI": f"redis://127.0.0.1:{redis}",
        }


class Pipeline:
    """A database with one attached table and the sidecar that serves it. `table` is documents or notes."""

    def __init__(self, dsn: str, table: str, sidecar: Sidecar) -> None:
        self.table = table
        self.dsn = dsn
        self.sidecar = sidecar
        self.session = psycopg.connect(dsn, autocommit=True)
        self._written = 0

    def write(self, rows: int) -> None:
        """Commits that many rows at once."""
        self.session.execute(f"SELECT count(*) FROM write_{self.table}(%s, %s)", [self._written, rows])
        self._written += rows

    def drain(self, seconds: float = 600) -> None:
        """Returns when everything committed so far is in every store."""
        result = self.session.execute(
            "CALL apex.wait_synced(apex.position(), make_interval(secs => %s), NULL)", [seconds]
        ).fetchone()[0]
        if result != "synced":
            raise RuntimeError(f"the sidecar did not drain what was written: {result}\n{self.sidecar.log_tail()}")

    @property
    def parked(self) -> int:
        return self.session.execute("SELECT count(*) FROM apex.failed_sagas").fetchone()[0]

    def cpu_seconds(self) -> float:
        """What the sidecar's threads have used so far, in the kernel too."""
        fields = pathlib.Path(f"/proc/{self.sidecar.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_mib(self) -> float:
        """The most memory that the sidecar has had resident."""
        return peak_mib(self.sidecar.pid)


class World:
    """Servers are started when they are first asked for and end with the world."""

    def __init__(self) -> None:
        directory = runtime_directory("bench-sidecar")
        self.postgres = Postgres(directory / "postgres", fsync=True, settings=_SETTINGS)
        # The same with a log that can be followed, for Debezium alone: it is longer.
        self.followed = Postgres(directory / "followed", fsync=True, settings={**_SETTINGS, "wal_level": "logical"})
        self.redis = Redis(directory / "redis")
        self.neo4j = Neo4j(directory / "neo4j", jvm=_NEO4J_JVM)
        self.qdrant = Qdrant(directory / "qdrant")
        self.sink = Sink(directory / "sink")
        self._directory = directory
        self._pipelines = 0

    def __enter__(self) -> "World":
        self._end()  # what an interrupted run left
        self.postgres.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        for server in (Sidecar(self._directory / "apex", {}), self.sink, self.redis, self.neo4j, self.qdrant):
            server.stop()
        Debezium(self._directory / "debezium", self.followed, "", self.redis).stop()
        for cluster in (self.postgres, self.followed):
            cluster.remove()

    def sinks(self) -> dict[str, str]:
        """The settings of a sidecar whose three stores acknowledge at once."""
        self.sink.start()
        return self.sink.variables

    def cache(self) -> dict[str, str]:
        """The settings of a sidecar that has an empty Redis alone."""
        self.redis.start()
        with self.redis.client() as client:
            client.flushall()
        return {"APEX_REDIS_URI": self.redis.uri}

    def graph_and_cache(self) -> dict[str, str]:
        """The settings of a sidecar with an empty Neo4j and Redis, and a Qdrant that acknowledges everything at once."""
        self.neo4j.start()
        with self.neo4j.driver() as driver, driver.session() as session:
            for one in ("()-[x]->()", "(x)"):  # in parts, as a transaction has to fit into Neo4j's memory
                while session.run(f"MATCH {one} WITH x LIMIT 10000 DELETE x RETURN count(*)").single().value():
                    pass
        return {**self.sinks(), **self.cache(), "APEX_NEO4J_URI": self.neo4j.uri}

    def stores(self) -> dict[str, str]:
        """The settings of a sidecar with all three stores, empty."""
        self.qdrant.start()
        client = self.qdrant.client()
        for collection in client.get_collections().collections:
            client.delete_collection(collection.name)
        client.close()
        return {**self.graph_and_cache(), "APEX_QDRANT_URI": self.qdrant.uri}

    @contextlib.contextmanager
    def pipeline(self, table: str, variables: Mapping[str, str], attach: str = "") -> Iterator[Pipeline]:
        """A fresh database, its table attached as attach_*.sql says, a sidecar that leads and has prepared its stores."""
        self._pipelines += 1
        name = f"bench_{self._pipelines}"
        with self.postgres.connect() as admin:
            admin.execute(f"CREATE DATABASE {name}")
            self._run(self.postgres, name, "schema.sql")
            self._run(self.postgres, name, f"attach_{attach or table}.sql")
            admin.execute("CHECKPOINT")
        dsn = self.postgres.dsn_of(name)
        settings = {"APEX_POSTGRES_DSN": self.postgres.sidecar_dsn_of(name), **variables}
        sidecar = Sidecar(self._directory / "apex", settings)
        pipeline = Pipeline(dsn, table, sidecar)
        try:
            pipeline.session.execute("SELECT apex.grant_sidecar(%s)", [SIDECAR_ROLE])
            sidecar.start()
            pipeline.write(1)
            pipeline.drain()
            yield pipeline
        finally:
            pipeline.session.close()
            sidecar.stop()
            with self.postgres.connect() as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def debezium(self) -> Iterator[tuple[Debezium, str]]:
        """Debezium Server that follows table notes of a fresh database into an empty Redis, and the database's DSN."""
        self.cache()
        self.followed.start()
        self._pipelines += 1
        name = f"bench_{self._pipelines}"
        with self.followed.connect() as admin:
            admin.execute(f"CREATE DATABASE {name}")
            self._run(self.followed, name, "schema.sql")
            server = Debezium(self._directory / "debezium", self.followed, name, self.redis)
            try:
                server.start()
                yield server, self.followed.dsn_of(name)
            finally:
                server.stop()
                admin.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [name])
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, cluster: Postgres, database: str, file: str) -> None:
        subprocess.run(
            ["psql", "-qX", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", "-f", str(_HERE / file)],
            env={**os.environ, **cluster.variables, "PGDATABASE": database, "PGOPTIONS": "-c client_min_messages=warning"},
            check=True,
        )
