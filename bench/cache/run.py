"""`make bench-cache`: what the cache service does, held against its reference and printed as a table.

BENCH_CASES names the cases to run, separated by commas (all); BENCH_ROUNDS (3) how often each is measured, BENCH_KEYS
(1000000) how many keys Redis holds while patterns and tags are invalidated, BENCH_SECONDS (5) how long a load lasts.
"""

import os
import pathlib
import sys

sys.path[1:1] = [str(pathlib.Path(__file__).resolve().parents[2] / folder) for folder in ("tools", "bench")]

import cases
from common.table import Table
from stores import ROOT, ServerError
from world import World

_REPORT = ROOT / "build" / "bench" / "cache.md"


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"BENCH_{name}", default))


def main() -> int:
    chosen = [name for name in os.environ.get("BENCH_CASES", "").split(",") if name] or list(cases.CASES)
    unknown = set(chosen) - set(cases.CASES)
    if unknown:
        print(f"bench: no case {', '.join(sorted(unknown))}; there are {', '.join(cases.CASES)}", file=sys.stderr)
        return 2
    size = cases.Size(rounds=_number("ROUNDS", 3), keys=_number("KEYS", 1_000_000), seconds=_number("SECONDS", 5))
    table = Table()
    with World() as world:
        for name in chosen:
            for line in cases.CASES[name](world, size):
                table.add(line)
    note = f"{os.cpu_count()} cores shared with every server, medians of {size.rounds} rounds, {size.keys:,} keys."
    table.write(_REPORT, note)
    print(f"\n{note}\nThe table is in {_REPORT.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServerError as failed:
        print(f"bench: {failed}", file=sys.stderr)
        sys.exit(1)
