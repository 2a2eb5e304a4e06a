"""`make bench-extension`: what the extension costs its database, measured against doing without, and printed as a table.

BENCH_ROUNDS (9) is how often each side is measured, BENCH_SECONDS (3) how long each run of pgbench takes; 3 and 2 give a
first idea in a few minutes.
"""

import os
import pathlib
import sys
from collections.abc import Iterator

sys.path[1:1] = [str(pathlib.Path(__file__).resolve().parents[2] / folder) for folder in ("tools", "bench")]

import cases
from common.table import Line, Table
from stores import ROOT, ServerError
from world import World

_REPORT = ROOT / "build" / "bench-extension" / "table.md"


def lines(world: World, rounds: int, run_seconds: int) -> Iterator[Line]:
    yield from cases.uuid7(world, rounds)
    yield from cases.time_ranges(world)
    yield from cases.single_inserts(world, rounds, run_seconds)
    yield from cases.bulk_inserts(world, rounds)
    yield from cases.unmapped_updates(world, rounds)


def main() -> int:
    rounds = int(os.environ.get("BENCH_ROUNDS", "9"))
    run_seconds = int(os.environ.get("BENCH_SECONDS", "3"))
    table = Table()
    with World(cases.ROWS, cases.TIMELINE_ROWS) as world:
        version = world.session.execute("SHOW server_version").fetchone()[0]
        for line in lines(world, rounds, run_seconds):
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
