"""`make check`: builds everything, runs every test, and closes with the line `N passed, N failed`.

The tests run in two lanes, because two cores are assumed and because some share servers: one lane has the pure tests,
the SQL tests on a cluster of their own and a minute of chaos on stores of its own, the other the tests on the four
stores, one group after the other.
"""

import argparse
import collections
import concurrent.futures
import fcntl
import os
import sys
import time
from collections.abc import Callable

from checks import deep, groups
from checks.results import Outcome, Result
from checks.runner import REPORTS, CommandFailed, must, say
from stores import ServerError, runtime_directory
from stores.paths import ROOT
from stores.stack import Stack

Group = tuple[str, Callable[[], list[Result]]]

_RELEASE = ROOT / "build" / "release"
_DETAIL_LINES = 60


class Report:
    """Collects the results; each group appears under its name with the time it took."""

    def __init__(self) -> None:
        self._results: dict[str, list[Result]] = {}
        self._seconds: dict[str, float] = {}

    def run(self, lane: list[Group]) -> None:
        for name, group in lane:
            started = time.monotonic()
            try:
                results = group()
            except (CommandFailed, ServerError, OSError) as failed:
                results = [Result(name, Outcome.FAILED, str(failed))]
            self._results[name] = results
            self._seconds[name] = time.monotonic() - started
            for result in results:
                if result.outcome is Outcome.FAILED:
                    lines = result.detail.splitlines()
                    cut = [f"... {len(lines) - _DETAIL_LINES} more lines"] if len(lines) > _DETAIL_LINES else []
                    say("\n".join([f"FAILED  {name}: {result.name}", *(f"    {line}" for line in lines[:_DETAIL_LINES] + cut)]))

    def close(self) -> int:
        """Prints the sums; returns the exit code."""
        everything = [result for results in self._results.values() for result in results]
        total = collections.Counter(result.outcome for result in everything)
        say("")
        for name, results in self._results.items():
            count = collections.Counter(result.outcome for result in results)
            skipped = f", {count[Outcome.SKIPPED]} skipped" if count[Outcome.SKIPPED] else ""
            say(f"{name:<24} {count[Outcome.PASSED]:5} passed, {count[Outcome.FAILED]} failed{skipped}  ({self._seconds[name]:.0f} s)")
        for name, results in self._results.items():
            for result in results:
                if result.outcome is not Outcome.PASSED:
                    say(f"  {result.outcome.value:<8} {name}: {result.name}" + (f" ({result.detail})" if result.outcome is Outcome.SKIPPED else ""))
        say(f"{total[Outcome.PASSED]} passed, {total[Outcome.FAILED]} failed")
        return 1 if total[Outcome.FAILED] or not total[Outcome.PASSED] else 0


def build() -> None:
    """Everything that `make check` tests."""
    # A warning of a newer compiler must not keep anybody from building; ours has to be silent.
    warnings = ["-DAPEX_WERROR=ON"] if os.environ.get("CI") else []
    for what, command in {
        "the sidecar and its tests": ["tools/build.sh", str(_RELEASE), "all", *warnings],
        "the extension": ["make", "install-extension"],
    }.items():
        started = time.monotonic()
        say(f"building {what}")
        must(command, REPORTS / f"build-{command[0].replace('/', '-')}.log", 1500)
        say(f"built {what} in {time.monotonic() - started:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deep", action="store_true", help="clang-tidy, sanitizers and the long forms as well")
    options = parser.parse_args()
    if options.deep:
        os.environ["APEX_DEEP"] = "1"

    REPORTS.mkdir(parents=True, exist_ok=True)
    lock = (REPORTS / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("check: another `make check` of this clone is running; waiting for it to end")
        fcntl.flock(lock, fcntl.LOCK_EX)

    report = Report()
    stack = Stack(runtime_directory("check"))
    with concurrent.futures.ThreadPoolExecutor(2) as lanes:
        # Neo4j is fetched and started while the compiler works.
        starting = [lanes.submit(server.start) for server in (stack.neo4j,)]
        try:
            build()
            for server in starting:
                server.result()
            stack.postgres.remove()
            stack = Stack(stack.directory)
            stack.up()
            os.environ["APEX_TEST_STACK"] = str(stack.directory)
            first: list[Group] = [
                ("tools", groups.tools),
                ("unit", lambda: groups.unit(_RELEASE)),
                ("regress", groups.regress),
                ("chaos", lambda: groups.chaos(60)),
            ]
            second: list[Group] = [("live", lambda: groups.live(_RELEASE, stack)), ("integration", groups.integration)]
            for done in [lanes.submit(report.run, first), lanes.submit(report.run, second)]:
                done.result()
            if options.deep:
                report.run(deep.all_groups(stack))
        except (CommandFailed, ServerError) as failed:
            reason = str(failed)
            report.run([("set-up", lambda: [Result("set-up", Outcome.FAILED, reason)])])
        finally:
            for server in starting:
                concurrent.futures.wait([server])
            stack.down()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
