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
from common.table import Line, Table
from stores import ROOT, ServerError
from world import World

_REPORT = ROOT / "build" / "bench-extension" / "table.md"


_CASES: dict[str, Callable[[World, int, int], Iterator[Line]]] = {
    "uuid7": lambda world, rounds, _: cases.uuid7(world, rounds),
    "time-ranges": lambda world, *_: reading.time_ranges(world),
    "single-inserts": cases.single_inserts,
    "without-preload": lambda _, rounds, seconds: cases.inserts_without_preload(rounds, seconds),
    "bulk-inserts": lambda world, rounds, _: cases.bulk_inserts(world, rounds),
    "updates": lambda world, rounds, _: cases.unmapped_updates(world, rounds),
    "woken": waking.woken,
    "backlogs": lambda world, rounds, _: reading.backlogs(world, rounds),
    "held-open": reading.held_open,
}


def main() -> int:
    chosen = [name for name in os.environ.get("BENCH_CASES", "").split(",") if name] or list(_CASES)
    unknown = set(chosen) - set(_CASES)
    if unknown:
        print(f"bench-extension: no case {', '.join(sorted(unknown))}; there are {', '.join(_CASES)}", file=sys.stderr)
        return 2
    rounds = int(os.environ.get("BENCH_ROUNDS", "7"))
    run_seconds = int(os.environ.get("BENCH_SECONDS", "3"))
    table = Table()
    with World(cases.ROWS) as world:
        version = world.session.execute("SHOW server_version").fetchone()[0]
        for name in chosen:
            for line in _CASES[name](world, rounds, run_seconds):
                table.add(line)
        woken = world.listener.woken
    note = f"PostgreSQL {version}, {os.cpu_count()} cores, medians of {rounds} rounds, a listener woken {woken} times."
    table.write(_REPORT, note)
    print(f"\n{note}\nThe table is in {_REPORT.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServerError as failed:
        print(f"bench-extension: {failed}", file=sys.stderr)
        sys.exit(1)
