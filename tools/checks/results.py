"""What became of a test, read from the report that each test runner writes."""

import dataclasses
import enum
import pathlib
import re
import xml.etree.ElementTree


class Outcome(enum.Enum):
    PASSED = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclasses.dataclass(frozen=True)
class Result:
    name: str
    outcome: Outcome
    detail: str = ""  # why it failed or was skipped


def from_junit(report: pathlib.Path) -> list[Result]:
    """Reads the JUnit dialects of CTest, GoogleTest and pytest; a report that is missing or cut short gives no results."""
    try:
        root = xml.etree.ElementTree.parse(report).getroot()
    except (OSError, xml.etree.ElementTree.ParseError):
        return []
    return [_of_case(case) for case in root.iter("testcase")]


def _of_case(case: xml.etree.ElementTree.Element) -> Result:
    name = ".".join(part for part in (case.get("classname"), case.get("name")) if part)
    if case.get("classname") == case.get("name"):  # CTest says it twice
        name = case.get("name", "")
    broken = [*case.findall("failure"), *case.findall("error")]
    if broken:
        said = [broken[0].get("message", ""), *(part.text or "" for part in broken), case.findtext("system-out") or ""]
        return Result(name, Outcome.FAILED, "\n".join(dict.fromkeys(part.strip() for part in said if part.strip())))
    skipped = case.find("skipped")
    if skipped is not None or case.get("status") in ("notrun", "disabled"):
        return Result(name, Outcome.SKIPPED, (skipped.get("message") or "") if skipped is not None else "not run")
    return Result(name, Outcome.PASSED)


# "test uuid7 ... ok 12 ms" of PostgreSQL up to 15, "ok 1 - uuid7 12 ms" since.
_REGRESS = re.compile(
    r"^(?:test\s+)?(?P<old>\S+)\s+\.\.\.\s+(?P<was>ok|FAILED|failed)|^(?P<tap>ok|not ok)\s+\d+\s+[-+]\s+(?P<new>\S+)"
)


def from_regress(line: str) -> Result | None:
    """The result that a line of pg_regress or pg_isolation_regress tells."""
    said = _REGRESS.match(line)
    if not said:
        return None
    passed = "ok" in (said["was"], said["tap"])
    return Result(said["old"] or said["new"], Outcome.PASSED if passed else Outcome.FAILED)
