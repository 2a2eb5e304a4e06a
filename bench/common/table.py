"""The table that a benchmark prints, line by line as it is measured."""

import pathlib
from dataclasses import dataclass

_HEAD = ["| what | reference | to reach | here | ratio | reached |", "|---|---|---|---|---|---|"]


@dataclass(frozen=True)
class Line:
    """One line of the table. `ratio` is what `goal` is about; reached says whether it holds, None that it was not measured."""

    what: str
    reference: str
    goal: str
    here: str
    ratio: str
    reached: bool | None


class Table:
    def __init__(self) -> None:
        self._lines = list(_HEAD)
        print("\n".join(self._lines), flush=True)

    def add(self, line: Line) -> None:
        reached = {True: "yes", False: "**no**", None: "–"}[line.reached]
        self._lines.append("| " + " | ".join([line.what, line.reference, line.goal, line.here, line.ratio, reached]) + " |")
        print(self._lines[-1], flush=True)

    def write(self, path: pathlib.Path, note: str) -> None:
        """Keeps the whole table with `note` below it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*self._lines, "", note, ""]))
