"""The private cluster that is measured, and what writes to it."""

import os
import pathlib
import re
import shutil
import subprocess
import threading

import psycopg

from stores import ROOT, Postgres, runtime_directory

_BUILD = ROOT / "build" / "bench-extension"
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
    def __init__(self, rows: int, timeline_rows: int) -> None:
        self._sizes = {"rows": rows, "timeline_rows": timeline_rows}
        self.cluster = Postgres(runtime_directory("bench") / "postgres", fsync=True, settings=_SETTINGS)

    def __enter__(self) -> "World":
        self.cluster.remove()  # what an interrupted run left
        methods = self._build_methods()
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
        self.listener.close()
        self.session.close()
        self.cluster.remove()

    def empty(self) -> None:
        """Takes away what the last measurement wrote, and writes out what it left to the checkpointer."""
        with self.session.transaction():
            self.session.execute("ALTER TABLE attached DISABLE TRIGGER USER")  # TRUNCATE of an attached table is refused
            self.session.execute("TRUNCATE plain, handmade, handmade_outbox, attached, apex.outbox_0, apex.outbox_1, apex.outbox_2")
            self.session.execute("ALTER TABLE attached ENABLE TRIGGER USER")
        self.session.execute("CHECKPOINT")

    def pgbench(self, script: str, seconds: int, clients: int, settings: str = "") -> float:
        """Transactions a second; `settings` are given to every session as the server's options."""
        file = _BUILD / "transaction.sql"
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

    def _build_methods(self) -> pathlib.Path:
        _BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["make", "-s", "-C", str(_BUILD), "-f", str(_HERE / "methods/Makefile")], check=True)
        # The server's user may not be able to look into the clone.
        return shutil.copy(_BUILD / "methods.so", runtime_directory("bench") / "methods.so")

    def _load(self, methods: pathlib.Path) -> None:
        variables = {"methods": str(methods), **{name: str(value) for name, value in self._sizes.items()}}
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
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._session.close()

    def _listen(self) -> None:
        while not self._ending.is_set():
            self._session.execute("SELECT apex.arm()")
            for _ in self._session.notifies(timeout=0.5, stop_after=1):
                self.woken += 1
            self._ending.wait(self._BUSY_SECONDS)
