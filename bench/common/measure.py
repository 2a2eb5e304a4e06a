"""Sides that are measured in turn: what else the machine does then falls on all of them alike."""

import pathlib
import re
import statistics
import time
from collections.abc import Callable, Mapping


def interleave(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Runs every side once a round, every second round in reverse order, and returns each side's median."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        names = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in names:
            found[name].append(sides[name]())
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def peak_mib(pid: int) -> float:
    """The most memory that a process has had resident."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024
