"""`make bench-extension`: what the extension costs its database, measured against doing without, and printed as a table.

BENCH_ROUNDS (7) is how often each side is measured, BENCH_SECONDS (3) how long each run of pgbench takes; 3 and 2 give a
first idea. BENCH_PENDING (10000000) is the size of the large backlog. BENCH_CASES names what to measure, separated by commas
(all).
"""

import os
import pathlib
import sys
from collections.abc import Callable, Iterator

sys.path[1:1] = [str(pathlib.Path(__file__).resolve().parents[2] / folder) for folder in ("tools", "bench")]

import cases
import reading
import waking
from common.program import number, run
from common.table import Line
from stores import ROOT
from world import World

_ROUNDS, _SECONDS = number("ROUNDS", 7), number("SECONDS", 3)
_CASES: dict[str, Callable[[World], Iterator[Line]]] = {
    "uuid7": lambda world: cases.uuid7(world, _ROUNDS),
    "time-ranges": reading.time_ranges,
    "single-inserts": lambda world: cases.single_inserts(world, _ROUNDS, _SECONDS),
    "without-preload": lambda _: cases.inserts_without_preload(_ROUNDS, _SECONDS),
    "bulk-inserts": lambda world: cases.bulk_inserts(world, _ROUNDS),
    "updates": lambda world: cases.unmapped_updates(world, _ROUNDS),
    "woken": lambda world: waking.woken(world, _ROUNDS, _SECONDS),
    "backlogs": lambda world: reading.backlogs(world, _ROUNDS),
    "held-open": lambda world: reading.held_open(world, _ROUNDS, _SECONDS),
}


def _note(world: World) -> str:
    version = world.session.execute("SHOW server_version").fetchone()[0]
    woken = world.listener.woken
    return f"PostgreSQL {version}, {os.cpu_count()} cores, medians of {_ROUNDS} rounds, a listener woken {woken} times."


if __name__ == "__main__":
    sys.exit(run(_CASES, lambda: World(cases.ROWS), _note, ROOT / "build" / "bench-extension" / "table.md"))
