"""`make bench-cache`: what the cache service does, held against its reference and printed as a table.

BENCH_CASES names the cases to run, separated by commas (all); BENCH_ROUNDS (3) how often each is measured, BENCH_KEYS
(1000000) how many keys Redis holds while patterns and tags are invalidated, BENCH_SECONDS (5) how long a load lasts.
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

_SIZE = cases.Size(rounds=number("ROUNDS", 3), keys=number("KEYS", 1_000_000), seconds=number("SECONDS", 5))
_NOTE = f"{os.cpu_count()} cores shared with every server, medians of {_SIZE.rounds} rounds, {_SIZE.keys:,} keys."

if __name__ == "__main__":
    measured = {name: functools.partial(case, size=_SIZE) for name, case in cases.CASES.items()}
    sys.exit(run(measured, World, lambda _: _NOTE, ROOT / "build" / "bench" / "cache.md"))
