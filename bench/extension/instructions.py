"""`make bench-extension-instructions`: the instructions of a commit, a copied row, an update and an id, counted by valgrind.

Clocks cannot tell small differences on a busy machine; a count is exact and blind to what else runs. Each count is the difference
between two runs of a single-user server, one with more repetitions than the other: what starting and planning cost falls out.
What a count does not see are waiting, caches and the kernel.
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Callable

sys.path[1:1] = [str(pathlib.Path(__file__).resolve().parents[2] / folder) for folder in ("tools", "bench")]

import cases
from stores import ROOT, ServerError
from world import World

_REPORT = ROOT / "build" / "bench-extension" / "instructions.md"
_ROWS = 3000
# As a program writes that saves whole objects.
_UNCHANGED = ", ".join(f"{column} = {column}" for column in ("title", "source", "body", "user_id", "created_at", "embedding"))
_FEW, _MANY = 300, 1300
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


class Counter:
    """Runs statements in the stopped cluster's single-user server, under callgrind."""

    def __init__(self, world: World) -> None:
        cluster = world.cluster
        options = [part for name, value in cluster.settings.items() for part in ("-c", f"{name}={value}")]
        self._profile = cluster.directory / "callgrind.out"
        self._command = [
            *cluster.as_user,
            "valgrind", "--tool=callgrind", "--log-file=/dev/null", f"--callgrind-out-file={self._profile}",
            str(cluster.bin / "postgres"), "--single", "-D", str(cluster.data), *options, "postgres",
        ]  # fmt: skip

    def each(self, statements: Callable[[int], list[str]]) -> float:
        """Instructions of one repetition, where `statements(n)` are those of n."""
        return (self._count(statements(_MANY)) - self._count(statements(_FEW))) / (_MANY - _FEW)

    def _count(self, statements: list[str]) -> int:
        # The single-user server reads one statement a line.
        ran = subprocess.run(
            self._command, input="".join(line + "\n" for line in statements), capture_output=True, text=True, check=False, cwd="/"
        )
        if ran.returncode != 0 or "ERROR:" in ran.stderr:
            raise ServerError(f"the single-user server failed:\n{ran.stderr[-2000:]}")
        return int(_TOTAL.findall(self._profile.read_text())[-1])


def _commits(table: str) -> Callable[[int], list[str]]:
    return lambda n: [f"PREPARE one AS {cases.one_insert(table)}", *["EXECUTE one"] * n]


def _copies(table: str) -> Callable[[int], list[str]]:
    return lambda n: [f"INSERT INTO {table} ({cases.COLUMNS}) {cases.COPIED} LIMIT {n}"]


def _updates(columns: str) -> Callable[[str], Callable[[int], list[str]]]:
    return lambda table: lambda n: [f"UPDATE {table} SET {columns} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} LIMIT {n}))"]


def _ids(function: str) -> Callable[[int], list[str]]:
    return lambda n: [f"SELECT count({function}()) FROM generate_series(1, {n * 100})"]


def main() -> int:
    tables = ["plain", "handmade", "notifying", "attached"]
    table = ["| instructions | no trigger | PL/pgSQL | with pg_notify | attached | attached to no trigger |", "|---|---|---|---|---|---|"]
    with World(_ROWS) as world:
        world.stop()
        counter = Counter(world)
        for what, statements in {
            "a commit of one row": _commits,
            "a row copied from a table": _copies,
            "an update of no mapped column": _updates("views = views + 1"),
            "an update of every column to what it is": _updates(f"{_UNCHANGED}, views = views + 1"),
        }.items():
            found = [counter.each(statements(name)) for name in tables]
            table.append("| " + " | ".join([what, *(f"{count:,.0f}" for count in found), f"{found[-1] / found[0]:.2f}x"]) + " |")
            print(table[-1], flush=True)
        found = [counter.each(_ids(name)) / 100 for name in ("bench_empty", "uuid7", "bench_uuid7_unpooled")]
        table.append("")
        table.append("An id: empty function {:,.0f}, uuid7 {:,.0f}, pg_uuidv7's method {:,.0f} instructions.".format(*found))
        print(table[-1])
    _REPORT.write_text("\n".join([*table, ""]))
    print(f"The table is in {_REPORT.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServerError as failed:
        print(f"bench-extension-instructions: {failed}", file=sys.stderr)
        sys.exit(1)
