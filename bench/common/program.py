"""What every benchmark of servers does: chooses its cases, measures one after the other and prints the table."""

import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from common.table import Line, Table
from stores import ROOT, ServerError

World = TypeVar("World")


def number(name: str, default: int) -> int:
    """The variable BENCH_`name`."""
    return int(os.environ.get(f"BENCH_{name}", default))


def run(
    cases: Mapping[str, Callable[[World], Iterable[Line]]],
    world: Callable[[], AbstractContextManager[World]],
    note: Callable[[World], str],
    report: pathlib.Path,
) -> int:
    """What the program exits with. BENCH_CASES names the cases to run, separated by commas; `note` stands below the table."""
    chosen = [name for name in os.environ.get("BENCH_CASES", "").split(",") if name] or list(cases)
    if unknown := set(chosen) - set(cases):
        print(f"bench: no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}", file=sys.stderr)
        return 2
    try:
        table = Table()
        with world() as servers:
            for name in chosen:
                for line in cases[name](servers):
                    table.add(line)
            said = note(servers)
    except ServerError as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 1
    table.write(report, said)
    print(f"\n{said}\nThe table is in {report.relative_to(ROOT)}.")
    return 0
