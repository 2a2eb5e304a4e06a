"""The groups: unit, tools, regress, live and integration. Each returns the results of its tests and never raises for a failed one."""

import os
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

from checks.results import Outcome, Result, from_junit, from_regress
from checks.runner import REPORTS, show_tests, stream, tail
from stores import Postgres, runtime_directory
from stores.paths import ROOT
from stores.stack import Stack

SQL_TESTS = sorted(path.stem for path in (ROOT / "sql").glob("*.sql"))
ISOLATION_SPECS = sorted(path.stem for path in (ROOT / "tests/isolation/specs").glob("*.spec"))

_CTEST = re.compile(r"Test\s+#\d+: (?P<name>\S+) \.*\**\s*(?P<outcome>Passed|Failed|Exception|Timeout|Not Run|Skipped)")
_GOOGLETEST = re.compile(r"^\[\s*(?P<outcome>OK|FAILED|SKIPPED)\s*\] (?P<name>\w[\w/]*\.\w[\w/]*)\b.*\(\d+ ms\)$")
_PYTEST = re.compile(r"^(?P<name>\S+::.+) (?P<outcome>PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*\[ *\d+%\]$")
_REGRESS = re.compile(r"(?P<outcome>\w+) (?P<name>\S+)")


def unit(build: pathlib.Path, label: str = "unit", environment: Mapping[str, str] | None = None) -> list[Result]:
    """Every GoogleTest of tests/unit, each in a process of its own."""
    log, report = _fresh(label)
    jobs = str(os.cpu_count() or 2)
    code = stream(
        ["ctest", "--test-dir", str(build), "-j", jobs, "--timeout", "300", "--output-on-failure", "--output-junit", str(report)],
        log,
        1200,
        environment=environment,
        each_line=show_tests(label, _CTEST),
    )
    return _complete(label, from_junit(report), code, log)


def live(
    build: pathlib.Path, stack: Stack, label: str = "live", environment: Mapping[str, str] | None = None
) -> list[Result]:
    """The store clients against real stores: every program live_* of the build."""
    results = []
    for program in sorted(build.glob("live_*")):
        if not os.access(program, os.X_OK) or program.is_dir():
            continue
        log, report = _fresh(f"{label}-{program.name}")
        code = stream(
            [str(program), f"--gtest_output=xml:{report}"],
            log,
            900,
            environment={**stack.sidecar_variables(), "APEX_POSTGRES_DSN": stack.postgres.dsn, **(environment or {})},
            each_line=show_tests(label, _GOOGLETEST),
        )
        results += _complete(program.name, from_junit(report), code, log)
    return results


def regress() -> list[Result]:
    """pg_regress and the isolation specs, on a cluster of their own."""
    Postgres(runtime_directory("regress") / "postgres").remove()  # what an interrupted run left
    cluster = Postgres(runtime_directory("regress") / "postgres")
    cluster.start()
    command = ["make", "-s", "-C", "extension", "installcheck"]
    try:
        return [
            *installcheck("regress", len(SQL_TESTS), [*command, "ISOLATION="], ROOT, cluster.variables),
            *installcheck("isolation", len(ISOLATION_SPECS), [*command, "REGRESS="], ROOT, cluster.variables),
        ]
    finally:
        cluster.remove()


def installcheck(
    label: str, wanted: int, command: Sequence[str], tree: pathlib.Path, environment: Mapping[str, str] | None = None
) -> list[Result]:
    """Runs a command that tests the extension by PGXS, `wanted` tests, and leaves what differs under tree/build."""
    if wanted == 0:
        return []
    log, _ = _fresh(label)
    said: list[Result] = []

    def read(line: str) -> None:
        if result := from_regress(line):
            said.append(result)
            show_tests(label, _REGRESS)(f"{result.outcome.value} {result.name}")

    code = stream(command, log, 900, environment=environment, each_line=read)
    differences = [path.read_text(errors="replace") for path in (tree / "build").glob("extension-*/**/regression.diffs")]
    results = [
        Result(f"{label}.{one.name}", one.outcome, _differences_of(one.name, differences) if one.outcome is Outcome.FAILED else "")
        for one in said
    ]
    if len(results) < wanted:
        results.append(Result(label, Outcome.FAILED, f"only {len(results)} of {wanted} tests ran\n{tail(log)}"))
    return _complete(label, results, code, log)


def tools() -> list[Result]:
    """pytest over tests/tools: this program's own parts and the quickstart's."""
    return _pytest("tools", "tests/tools", {})


def integration(
    label: str = "integration", environment: Mapping[str, str] | None = None, seconds: float = 1500
) -> list[Result]:
    """pytest over tests/integration, from outside, through the official clients."""
    return _pytest(label, "tests/integration", environment or {}, seconds)


def wakeup(label: str, environment: Mapping[str, str]) -> list[Result]:
    """The part of the integration tests that looks into the server alone, on the one that PG_CONFIG names."""
    return _pytest(label, "tests/integration/test_wakeup.py", environment)


def upgrade(label: str, environment: Mapping[str, str]) -> list[Result]:
    """pg_upgrade from the installation that PG_CONFIG names to the one of APEX_UPGRADE_TO."""
    test = "tests/integration/test_life.py::test_pg_upgrade_keeps_mappings_failed_sagas_and_pending_changes"
    return _pytest(label, test, environment)


def faults(environment: Mapping[str, str]) -> list[Result]:
    """pytest over tests/faults: an ERROR wherever one could be raised."""
    return _pytest("faults", "tests/faults", environment)


def chaos(seconds: int) -> list[Result]:
    """Every process killed, stopped and cut off under load for so long, then every row against every store."""
    log, _ = _fresh("chaos")
    code = stream([sys.executable, str(ROOT / "tests/chaos/run.py"), "--seconds", str(seconds)], log, seconds + 900)
    name = f"{seconds} s of chaos"
    show_tests("chaos", _REGRESS)(f"{'FAILED' if code else 'ok'} {name.replace(' ', '_')}")
    return [Result(name, Outcome.FAILED if code else Outcome.PASSED, tail(log) if code else "")]


def containers(environment: Mapping[str, str]) -> list[Result]:
    """pytest over tests/containers: the images, and what runs in them."""
    return _pytest("containers", "tests/containers", environment)


def _pytest(label: str, folder: str, environment: Mapping[str, str], seconds: float = 1500) -> list[Result]:
    log, report = _fresh(label)
    code = stream(
        [sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}", folder],
        log,
        seconds,
        environment=environment,
        each_line=show_tests(label, _PYTEST),
    )
    return _complete(label, from_junit(report), code, log)


def _fresh(label: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The group's log and report; what an earlier run left is removed so that it cannot be taken for this one's."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    log, report = REPORTS / f"{label}.log", REPORTS / f"{label}.xml"
    log.unlink(missing_ok=True)
    report.unlink(missing_ok=True)
    return log, report


def _complete(label: str, results: list[Result], code: int, log: pathlib.Path) -> list[Result]:
    """A program that failed without naming a failed test, for instance by crashing, counts as one failure."""
    if code != 0 and all(result.outcome is not Outcome.FAILED for result in results):
        return [*results, Result(label, Outcome.FAILED, f"ended with exit code {code}\n{tail(log)}")]
    return results


def _differences_of(test: str, differences: list[str]) -> str:
    """The part of regression.diffs that belongs to one test."""
    for text in differences:
        for part in re.split(r"(?m)^(?=diff )", text):
            if f"/{test}.out" in part.partition("\n")[0]:
                return part
    return "no difference was recorded: see its log in build/check"
