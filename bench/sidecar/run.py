"""`make bench`: what the sidecar does, held against its reference and printed as a table.

BENCH_CASES names the cases to run, separated by commas (all); BENCH_ROUNDS (3) how often each is measured, BENCH_ROWS
(100000) how many rows a measurement writes, BENCH_SECONDS (10) how long each latency is observed, BENCH_PENDING (200000)
and BENCH_BACKLOG (100000) how many rows wait in the cases of these names.
"""

import functools
import os
import pathlib
import sys

sys.path[1:1] = [str(pathlib.Path(__file__).resolve().parents[2] / folder) for folder in ("tools", "bench")]

import cases
from common.program import number, run
from stores import ROOT
from world import World

_SIZE = cases.Size(
    rounds=number("ROUNDS", 3),
    rows=number("ROWS", 100_000),
    seconds=number("SECONDS", 10),
    pending=number("PENDING", 200_000),
    backlog=number("BACKLOG", 100_000),
)
_NOTE = f"{os.cpu_count()} cores shared with every server, medians of {_SIZE.rounds} rounds of {_SIZE.rows:,} rows."

if __name__ == "__main__":
    measured = {name: functools.partial(case, size=_SIZE) for name, case in cases.CASES.items()}
    sys.exit(run(measured, World, lambda _: _NOTE, ROOT / "build" / "bench" / "table.md"))
