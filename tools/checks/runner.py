"""Runs a test program, shows its tests as they end, and keeps everything it says in a log."""

import os
import pathlib
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from stores.paths import ROOT

REPORTS = ROOT / "build" / "check"

_print_lock = threading.Lock()


def say(text: str) -> None:
    """Prints whole lines, also while several groups run."""
    with _print_lock:
        print(text, flush=True)


class CommandFailed(RuntimeError):
    """A command that had to succeed, such as a build, did not."""


def stream(
    command: Sequence[str],
    log: pathlib.Path,
    seconds: float,
    *,
    environment: Mapping[str, str] | None = None,
    each_line: Callable[[str], None] = lambda line: None,
) -> int:
    """Returns the exit code. After `seconds` the command and all its children are killed, which is an exit code too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as kept:
        process = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        alarm = threading.Timer(seconds, lambda: os.killpg(process.pid, signal.SIGKILL))
        alarm.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                each_line(line.rstrip("\n"))
            return process.wait()
        finally:
            alarm.cancel()


def must(command: Sequence[str], log: pathlib.Path, seconds: float) -> None:
    code = stream(command, log, seconds)
    if code != 0:
        raise CommandFailed(f"{' '.join(command)} failed with exit code {code}\n{tail(log)}")


def tail(log: pathlib.Path, lines: int = 40) -> str:
    shown = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([*("  | " + line for line in shown), f"  the whole log: {log.relative_to(ROOT)}"])


def show_tests(group: str, pattern: re.Pattern[str]) -> Callable[[str], None]:
    """Prints a line of its own for every test that ends; `pattern` finds its `name` and its `outcome`."""

    def show(line: str) -> None:
        if found := pattern.search(line):
            passed = found["outcome"].strip().lower() in ("ok", "passed")
            say(f"  {'ok    ' if passed else found['outcome'].strip().lower():<7} {group:<12} {found['name']}")

    return show
