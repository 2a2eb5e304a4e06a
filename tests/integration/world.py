"""What one integration test has to itself: a database, empty stores, a sidecar, and the official clients of all."""

import pathlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import neo4j
import psycopg
import qdrant_client
import redis
from psycopg.rows import dict_row

from stores import SIDECAR_ROLE, Sidecar
from stores.stack import Stack

# For something that takes a moment on an idle machine; this one may be building and testing at the same time.
DEADLINE_SECONDS = 60.0


def wait_until(
    condition: Callable[[], Any], seconds: float = DEADLINE_SECONDS, message: str | Callable[[], str] = ""
) -> Any:
    """Polls `condition` until it is true and returns its value; fails the test when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            said = message() if callable(message) else message
            raise AssertionError(f"not so after {seconds:.0f} s: {said or condition}; last value {value!r}")
        time.sleep(0.01)


class World:
    """Not thread-safe; `connect` gives each thread a session of its own."""

    def __init__(self, stack: Stack, directory: pathlib.Path) -> None:
        self.stack = stack
        self.directory = directory
        self.database = f"test_{secrets.token_hex(6)}"
        with stack.postgres.connect() as admin:
            admin.execute(f"CREATE DATABASE {self.database}")
        self.dsn = stack.postgres.dsn_of(self.database)
        self.pg = self.connect()
        self.pg.execute("CREATE EXTENSION apex_saga")
        self.pg.execute("SELECT apex.grant_sidecar(%s)", [SIDECAR_ROLE])
        self.neo4j: neo4j.Driver = stack.neo4j.driver()
        self.qdrant: qdrant_client.QdrantClient = stack.qdrant.client()
        self.redis: redis.Redis = stack.redis.client()
        self._empty_stores()
        self._sidecars: list[Sidecar] = []
        self.sidecar = self.another_sidecar()

    def connect(self) -> psycopg.Connection:
        """A further superuser's session, in autocommit mode; use `.transaction()` for more than one statement."""
        return psycopg.connect(self.dsn, autocommit=True)

    def another_sidecar(self, variables: Mapping[str, str] | None = None) -> Sidecar:
        """One more process of the same pipeline, not started; `variables` override its settings."""
        settings = {**self.stack.sidecar_variables(self.database), "APEX_LOG_LEVEL": "debug", **(variables or {})}
        made = Sidecar(self.directory / f"apex-{len(self._sidecars)}", settings)
        self._sidecars.append(made)
        return made

    # PostgreSQL

    def sql(self, statement: str, *arguments: Any) -> list[Any]:
        """Runs one statement; returns its rows as tuples, or the bare values when it has one column."""
        cursor = self.pg.execute(statement, arguments or None)
        if cursor.description is None:
            return []
        rows = cursor.fetchall()
        return [row[0] for row in rows] if len(cursor.description) == 1 else rows

    def value(self, statement: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return self.pg.execute(statement, arguments or None).fetchone()[0]

    def rows(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        return self.pg.cursor(row_factory=dict_row).execute(statement, arguments or None).fetchall()

    def position(self) -> str:
        """A position after everything committed so far."""
        return self.value("SELECT apex.position()::text")

    def commit(self, *statements: str) -> str:
        """Runs the statements in one transaction and returns its position, by which wait_synced tells its own parked saga."""
        with self.pg.transaction():
            for statement in statements:
                self.pg.execute(statement)
            return self.position()

    def wait_synced(
        self, position: str | None = None, expect: str | None = "synced", seconds: float = DEADLINE_SECONDS
    ) -> str:
        """Waits until everything up to `position`, or everything committed so far, is in all stores or parked.

        Returns 'synced', 'timeout', or 'parked' when a saga of the position's own transaction failed for good.
        """
        cursor = self.pg.execute(
            "CALL apex.wait_synced(%s::xid8, make_interval(secs => %s), NULL)", [position or self.position(), seconds]
        )
        result = cursor.fetchone()[0]
        if expect is not None and result != expect:
            raise AssertionError(f"wait_synced said {result}, not {expect}; parked: {self.parked()}")
        return result

    def parked(self) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM apex.failed_sagas")

    # Neo4j

    def cypher(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        return [record.data() for record in self.neo4j.execute_query(query, parameters).records]

    def node(self, label: str, **key: Any) -> dict[str, Any] | None:
        """The properties of the one node with this key; None when there is none, an error when there are several."""
        found = self.nodes(label, **key)
        assert len(found) <= 1, f"{len(found)} nodes :{label} {key}"
        return found[0] if found else None

    def nodes(self, label: str, **key: Any) -> list[dict[str, Any]]:
        match = ", ".join(f"`{name}`: ${name}" for name in key)
        records = self.neo4j.execute_query(f"MATCH (n:`{label}` {{{match}}}) RETURN n", key).records
        return [dict(record["n"]) for record in records]

    def relations(self, kind: str) -> set[tuple[Any, Any]]:
        """(from, to) of every relationship of this type, by the property `id`."""
        found = self.cypher(f"MATCH (a)-[:`{kind}`]->(b) RETURN a.id AS a, b.id AS b")
        return {(record["a"], record["b"]) for record in found}

    # Qdrant

    def point(self, collection: str, point_id: Any) -> Any | None:
        """The record with payload and vector; None when there is none."""
        if not self.qdrant.collection_exists(collection):
            return None
        found = self.qdrant.retrieve(collection, [point_id], with_payload=True, with_vectors=True)
        return found[0] if found else None

    def point_count(self, collection: str) -> int:
        return self.qdrant.count(collection, exact=True).count if self.qdrant.collection_exists(collection) else 0

    # The sidecar

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series of /metrics; 0 when it is not there."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        for line in self.sidecar.get("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            found, _, rest = series.partition("{")
            if found == name and wanted <= set(rest.rstrip("}").split(",")):
                return float(value)
        return 0.0

    def close(self, *, show_log: bool = False) -> None:
        for sidecar in self._sidecars:
            if sidecar.running:
                sidecar.kill()
            if show_log and sidecar.log.exists():
                print(sidecar.log_tail(60))
        self.neo4j.close()
        self.qdrant.close()
        self.redis.close()
        self.pg.close()
        with self.stack.postgres.connect() as admin:
            admin.execute(f"DROP DATABASE {self.database} WITH (FORCE)")

    def _empty_stores(self) -> None:
        """Also the fence that an earlier test's pipeline of the same name left in Neo4j.

        Uniqueness constraints stay: they cost half a second each to make and say nothing about another test's rows.
        """
        self.neo4j.execute_query("MATCH (n) DETACH DELETE n")
        for collection in self.qdrant.get_collections().collections:
            self.qdrant.delete_collection(collection.name)
        self.redis.flushall()


def any_order(values: Sequence[Any]) -> list[Any]:
    """For comparing lists whose order means nothing."""
    return sorted(values, key=repr)
