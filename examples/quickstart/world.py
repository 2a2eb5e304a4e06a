"""The quickstart's servers and its database, and a session with each through the official client."""

import contextlib
import os
import pathlib
import secrets
import shlex
from collections.abc import Iterator

import psycopg

from stores import SIDECAR_ROLE, ServerError, Sidecar, runtime_directory
from stores.stack import Stack

DATABASE = "quickstart"
COLLECTIONS = ("documents", "chunks")
SCHEMA = pathlib.Path(__file__).with_name("schema.sql")
# Generous: a full load takes seconds.
_ARRIVAL_SECONDS = 300


class World:
    def __init__(self) -> None:
        self.directory = runtime_directory("quickstart")
        self.stack = Stack(self.directory, fsync=True, neo4j_password=self._neo4j_password())
        self.sidecar = Sidecar(self.directory / "apex", {})
        self.environment_file = self.directory / "environment"

    @property
    def dsn(self) -> str:
        return self.stack.postgres.dsn_of(DATABASE)

    def stop(self) -> None:
        self.sidecar.stop()
        self.stack.down()

    def start_afresh(self) -> None:
        """An empty database with the schema and empty stores; the stores' own data directories are the quickstart's."""
        self.sidecar.stop()
        with self.stack.postgres.connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {DATABASE}")
        with self.stack.neo4j.driver() as driver:
            driver.execute_query("MATCH (n) DETACH DELETE n")
        with contextlib.closing(self.stack.qdrant.client()) as qdrant:
            for collection in COLLECTIONS:
                if qdrant.collection_exists(collection):
                    qdrant.delete_collection(collection)
        with self.stack.redis.client() as redis:
            redis.flushall()
        with self.stack.postgres.connect(DATABASE) as session:
            session.execute(SCHEMA.read_text())
            session.execute("SELECT apex.grant_sidecar(%s)", [SIDECAR_ROLE])

    def start_sidecar(self) -> None:
        self.sidecar = Sidecar(self.directory / "apex", self.stack.sidecar_variables(DATABASE))
        self.sidecar.start()
        self._write_environment()

    @contextlib.contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.dsn, autocommit=True) as session:
            yield session

    def wait(self, session: psycopg.Connection, position: str | None = None) -> str:
        """Waits until everything committed so far, or up to `position`, is in every store or put aside.

        Returns 'synced', or 'parked' when the transaction of `position` was put aside itself.
        """
        if position is None:
            position = session.execute("SELECT apex.position()::text").fetchone()[0]  # type: ignore[index]
        row = session.execute(
            "CALL apex.wait_synced(%s::xid8, make_interval(secs => %s), NULL)", [position, _ARRIVAL_SECONDS]
        ).fetchone()
        assert row is not None
        if row[0] == "timeout":
            raise ServerError(
                f"the rows did not reach every store in {_ARRIVAL_SECONDS} s; `{self.apex_command('doctor')}` says why\n"
                + self.sidecar.log_tail()
            )
        return row[0]

    def apex_command(self, command: str) -> str:
        """How a user asks the sidecar's program something about this world."""
        return f"(. {self.environment_file}; build/release/bin/apex {command})"

    def _write_environment(self) -> None:
        """For the user's own shell: psql, redis-cli and `apex` then find the quickstart."""
        variables = {
            **self.stack.postgres.variables,
            "PGDATABASE": DATABASE,
            **self.stack.sidecar_variables(DATABASE),
            "APEX_HTTP_LISTEN": f"127.0.0.1:{self.sidecar.port}",
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        self.environment_file.touch(mode=0o600)
        self.environment_file.write_text("".join(lines))

    def _neo4j_password(self) -> str:
        """Made at the first start; Neo4j keeps it in its data directory."""
        kept = self.directory / "neo4j-password"
        if not kept.exists():
            with open(os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(secrets.token_hex(12))
        return kept.read_text()
