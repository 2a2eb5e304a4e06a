"""The private cluster that is measured, and what writes to it."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator

import psycopg

from stores import ROOT, Postgres, runtime_directory

BUILD = ROOT / "build" / "bench-extension"
_HERE = pathlib.Path(__file__).resolve().parent
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
# Commits are flushed, as everywhere. What comes at its own time, checkpoints and vacuum, does not come in between.
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "jit": "off",
    "max_wal_size": "8GB",
    "shared_buffers": "1GB",
}


class World:
    def __init__(self, rows: int, *, preload: bool = True) -> None:
        self._rows = rows
        home = runtime_directory("bench") / ("postgres" if preload else "postgres-bare")
        self.cluster = Postgres(home, preload=preload, fsync=True, settings=_SETTINGS)

    def __enter__(self) -> "World":
        self.cluster.remove()  # what an interrupted run left
        methods = self._build()
        self.cluster.start()
        try:
            self._load(methods)
            self.session = self.cluster.connect()
            self.listener = Listener(self.cluster.dsn)
        except BaseException:
            self.cluster.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.cluster.remove()

    def stop(self) -> None:
        """Ends the server and keeps its data."""
        self.listener.close()
        self.session.close()
        self.cluster.stop()

    @contextlib.contextmanager
    def without_listener(self) -> Iterator[None]:
        """For whoever brings a listener along: each of them would ask for notifications that wake both."""
        self.listener.close()
        try:
            yield
        finally:
            woken = self.listener.woken
            self.listener = Listener(self.cluster.dsn)
            self.listener.woken = woken

    def empty(self) -> None:
        """Takes away what the last measurement wrote, and writes out what it left to the checkpointer."""
        with self.session.transaction():
            for table in ("attached", "pulse"):
                self.session.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")  # TRUNCATE would be captured
            slots = ", ".join(self._outbox_tables())
            self.session.execute(f"TRUNCATE plain, handmade, notifying, handmade_outbox, attached, pulse, {slots}")
            for table in ("attached", "pulse"):
                self.session.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        self.session.execute("CHECKPOINT")

    def outbox_sum(self, expression: str) -> int:
        """The sum of an expression over the outbox's tables, whose row in pg_class it is computed from."""
        tables = ", ".join(f"'{table}'::regclass" for table in self._outbox_tables())
        found = self.session.execute(f"SELECT sum({expression}) FROM pg_class WHERE oid IN ({tables})").fetchone()
        return int(found[0])

    def processor_seconds(self) -> float:
        """What the session's server process has had of the processor: unlike the clock's, blind to what else runs."""
        return int(pathlib.Path(f"/proc/{self.session.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9

    def _outbox_tables(self) -> list[str]:
        found = self.session.execute(
            "SELECT oid::regclass::text FROM pg_class "
            "WHERE relnamespace = 'apex'::regnamespace AND relkind = 'r' AND relname ~ '^outbox_[0-9]'"
        )
        return [row[0] for row in found.fetchall()]

    def pgbench(self, script: str, seconds: int, clients: int, settings: str = "") -> float:
        """Transactions a second; `settings` are given to every session as the server's options."""
        file = BUILD / "transaction.sql"
        file.write_text(script)
        command = ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds), "-f", str(file)]
        ran = subprocess.run(
            command,
            env={**os.environ, **self.cluster.variables, "PGOPTIONS": settings},
            capture_output=True,
            text=True,
            check=True,
        )
        found = _TPS.search(ran.stdout)
        if found is None:
            raise RuntimeError(f"pgbench did not say its rate:\n{ran.stdout}{ran.stderr}")
        return float(found.group(1))

    def _build(self) -> pathlib.Path:
        """The program beside the benchmark, and the functions uuid7() is measured against, whose file is returned."""
        BUILD.mkdir(parents=True, exist_ok=True)
        for part in ("methods", "wake"):
            subprocess.run(["make", "-s", "-C", str(BUILD), "-f", str(_HERE / part / "Makefile")], check=True)
        # The server's user may not be able to look into the clone.
        return shutil.copy(BUILD / "methods.so", runtime_directory("bench") / "methods.so")

    def _load(self, methods: pathlib.Path) -> None:
        variables = {"methods": str(methods), "rows": str(self._rows)}
        options = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        subprocess.run(
            ["psql", "-qX", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", *options, "-f", str(_HERE / "schema.sql")],
            env={**os.environ, **self.cluster.variables, "PGOPTIONS": "-c client_min_messages=warning"},
            check=True,
        )


class Listener:
    """Stands for the sidecar: it waits for the wake-up, is busy for a while, and asks for the next one.

    The sidecar asks when it has delivered what there was, which takes it longer than this.
    """

    _BUSY_SECONDS = 0.05

    def __init__(self, dsn: str) -> None:
        self._session = psycopg.connect(dsn, autocommit=True)
        self._ending = threading.Event()
        self.woken = 0
        self._session.execute("LISTEN apex_outbox")
        self._session.execute("LISTEN handmade_outbox")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._session.close()

    def _listen(self) -> None:
        while not self._ending.is_set():
            self._session.execute("SELECT apex.arm()")
            for notification in self._session.notifies(timeout=0.5, stop_after=1):
                self.woken += notification.channel == "apex_outbox"
            self._ending.wait(self._BUSY_SECONDS)
