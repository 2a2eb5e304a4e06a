"""Runs the commands of a documentation page, block after block in one shell, as somebody who follows it would."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

from checks.results import Outcome, Result
from checks.runner import REPORTS, say, stream

_PART = re.compile(r"^(?P<marks>#+) (?P<title>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^@@ (?P<what>begin|end) (?P<number>\d+)$")


@dataclasses.dataclass(frozen=True)
class Block:
    name: str  # the headings above it
    commands: str


def blocks(text: str) -> list[Block]:
    """The fenced `sh` blocks of a page."""
    found: list[Block] = []
    headings: list[str] = []
    for part in _PART.finditer(text):
        if part["marks"]:
            headings[len(part["marks"]) - 1 :] = [part["title"]]
        elif part["language"] == "sh":
            found.append(Block(": ".join(headings[1:] or headings), part["text"]))
    return found


def run(page: pathlib.Path, environment: Mapping[str, str], seconds: float) -> list[Result]:
    """One result a block. A block ends at its first command that fails; the blocks behind it are then not run."""
    label = page.stem
    wanted = blocks(page.read_text())
    script = REPORTS / f"{label}.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        "set -euo pipefail\n"
        + "".join(f"echo '@@ begin {n}'\n{block.commands}echo '@@ end {n}'\n" for n, block in enumerate(wanted))
    )
    ended: set[int] = set()
    said: dict[int, list[str]] = {}

    def read(line: str) -> None:
        mark = _MARK.match(line)
        if mark and mark["what"] == "begin":
            said[int(mark["number"])] = []
        elif mark:
            ended.add(int(mark["number"]))
            say(f"  ok      {label:<12} {wanted[int(mark['number'])].name}")
        elif said:
            said[max(said)].append(line)

    log = REPORTS / f"{label}.log"
    code = stream(["bash", str(script)], log, seconds, environment=environment, each_line=read)
    results = []
    for number, block in enumerate(wanted):
        if number in ended:
            results.append(Result(block.name, Outcome.PASSED))
        elif number in said:
            results.append(Result(block.name, Outcome.FAILED, "\n".join([f"ended with exit code {code}", *said[number][-40:]])))
        else:
            results.append(Result(block.name, Outcome.FAILED, "not run, as one before it failed"))
    return results
