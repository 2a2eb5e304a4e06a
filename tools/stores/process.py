"""One server process: started with a log, waited for until ready, ended by its id."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from stores.ports import free_port, is_free


class ServerError(RuntimeError):
    """A server did not start or stop; the message says which, why, and shows the end of its log."""


def _birth(pid: int) -> int | None:
    """The process's start time in clock ticks, None when it is gone or a zombie: (pid, birth) is never reused."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _children(pid: int) -> list[int]:
    try:
        listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.02) -> bool:
    """Polls `condition` until it holds (True) or the time is over (False)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


class Server:
    """The part every server shares. A subclass gives `command` and `is_ready`, and may override `prepare`.

    Process id and port are kept in `directory/server.json`, so that another process can find, use and end the server.
    Not thread-safe; different servers may be started from different threads.
    """

    name = "server"
    ready_seconds = 60.0
    stop_seconds = 60.0
    stop_signal = signal.SIGTERM

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = pathlib.Path(directory)
        self.log = self.directory / f"{self.name}.log"
        self._record = self.directory / "server.json"
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.pid: int | None = None
        self._born: int | None = None
        self.port = 0
        # Of the last process that this object started, once `running` has seen its end; negative for a signal.
        self.exit_code: int | None = None
        self._recall()

    # What a subclass says.

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def prepare(self) -> None:
        """Runs before each start; makes what the command needs."""

    def is_ready(self) -> bool:
        raise NotImplementedError

    # What everybody calls.

    @property
    def running(self) -> bool:
        if self._popen is not None:
            self.exit_code = self._popen.poll()  # reaps it
            return self.exit_code is None
        return self.pid is not None and _birth(self.pid) == self._born

    def start(self) -> None:
        """Returns once the server is ready; does nothing when it runs already."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Starts the process without waiting for it."""
        if self.running:
            return
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        if not self.port or not is_free(self.port):
            self.port = free_port()
        self.prepare()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._popen = subprocess.Popen(
                list(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C in the terminal ends the caller, not the servers it leaves up.
                start_new_session=True,
                cwd=self.directory,
                env=dict(self.environment()),
            )
        self.pid = self._popen.pid
        self._born = _birth(self.pid)
        self._remember()

    def wait_ready(self) -> None:
        if not wait_until(lambda: not self.running or self.is_ready(), self.ready_seconds):
            raise ServerError(f"{self.name} was not ready after {self.ready_seconds:.0f} s\n{self.log_tail()}")
        if not self.running:
            raise ServerError(f"{self.name} ended while it started\n{self.log_tail()}")

    def ask_to_stop(self) -> None:
        """Sends the signal that asks the server to end, and does not wait."""
        assert self.running and self.pid is not None
        os.kill(self.pid, self.stop_signal)

    def stop(self) -> None:
        """Asks the server to end and waits; one that does not end in time is killed."""
        if not self.running:
            self._recall()  # another program may have started it again
        if self.running:
            self.ask_to_stop()
            if not wait_until(lambda: not self.running, self.stop_seconds):
                self.kill()
                raise ServerError(f"{self.name} did not end in {self.stop_seconds:.0f} s and was killed\n{self.log_tail()}")
        self._forget()

    def kill(self) -> None:
        """SIGKILL to the server and its child processes, as a power failure would; returns when all are gone."""
        if self.running:
            assert self.pid is not None
            family = {pid: _birth(pid) for pid in [self.pid, *_children(self.pid)]}
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            gone = lambda: not self.running and all(_birth(pid) != born for pid, born in family.items())  # noqa: E731
            if not wait_until(gone, self.stop_seconds, 0.005):
                raise ServerError(f"{self.name} (process {self.pid}) is still there after SIGKILL")
        self._forget()

    def pause(self) -> None:
        """SIGSTOP to the server and its child processes: it answers nothing but keeps its connections."""
        assert self.running and self.pid is not None
        # First itself, so that it makes no further child.
        os.kill(self.pid, signal.SIGSTOP)
        self._signal_children(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.pid is not None
        self._signal_children(signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def log_text(self) -> str:
        """What the server has written since its last start."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_tail(self, lines: int = 25) -> str:
        tail = "\n".join("  | " + line for line in self.log_text().splitlines()[-lines:])
        return f"  the end of {self.log}:\n{tail}"

    def _signal_children(self, number: signal.Signals) -> None:
        for child in _children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def _recall(self) -> None:
        if self._record.exists():
            known = json.loads(self._record.read_text())
            self._popen = None
            self.pid, self._born, self.port = known["pid"], known["born"], known["port"]
            self._log_start = known["log_start"]

    def _remember(self) -> None:
        draft = self._record.with_suffix(".new")
        draft.write_text(json.dumps({"pid": self.pid, "born": self._born, "port": self.port, "log_start": self._log_start}))
        draft.rename(self._record)

    def _forget(self) -> None:
        self.pid = self._born = self._popen = None
        if self._record.exists():
            self._remember()
