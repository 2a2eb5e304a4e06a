"""What `make check-deep` adds: clang-format, clang-tidy, the simulator's long form, and the tests of the sidecar under the sanitizers."""

import pathlib
import shutil
from collections.abc import Callable

from checks import groups
from checks.results import Outcome, Result
from checks.runner import REPORTS, must, stream, tail
from stores.paths import ROOT
from stores.stack import Stack

_SANITIZERS = {
    "address,undefined": {
        # Some tests put a library of their own before the sidecar's, which the sanitizer takes for a mistake.
        "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:verify_asan_link_order=0",
        "LSAN_OPTIONS": f"suppressions={ROOT / 'tools/checks/leaks.supp'}:print_suppressions=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    },
    "thread": {
        # Debian's gRPC and protobuf are not instrumented: their own locks are invisible to the sanitizer.
        "TSAN_OPTIONS": f"ignore_noninstrumented_modules=1:second_deadlock_stack=1:suppressions={ROOT / 'tools/checks/races.supp'}",
    },
}
# For the integration tests, which take a few times as long as they do without.
_SANITIZED_SECONDS = 5400


def formatting() -> list[Result]:
    """Every C++ file is as `make format` leaves it."""
    log = REPORTS / "format.log"
    code = stream(["bash", "-c", "git ls-files -z '*.cpp' '*.h' | xargs -0 clang-format-14 --dry-run --Werror"], log, 600)
    return [Result("clang-format", Outcome.FAILED if code else Outcome.PASSED, tail(log, 20) if code else "")]


def tidy() -> list[Result]:
    log = REPORTS / "tidy.log"
    code = stream(["tools/tidy.sh"], log, 7200)
    return [Result("clang-tidy", Outcome.FAILED if code else Outcome.PASSED, tail(log, 80) if code else "")]


def simulated() -> list[Result]:
    """The simulator's long form: 100,000 seeds, where `make check` runs 2,000."""
    log = REPORTS / "simulator.log"
    code = stream(
        [str(ROOT / "build" / "release" / "unit_sim"), "--gtest_filter=SimulationTest.*"], log, 3600,
        environment={"APEX_SIM_RUNS": "100000"},
    )
    return [Result("100000 seeds", Outcome.FAILED if code else Outcome.PASSED, tail(log, 40) if code else "")]


def sanitized(sanitizer: str, stack: Stack) -> list[Result]:
    """Unit, live and integration tests of one sanitized build."""
    label = sanitizer.partition(",")[0]
    directory = ROOT / "build" / label
    found = REPORTS / f"found-{label}"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(parents=True)
    environment = {name: f"{options}:log_path={found}/in" for name, options in _SANITIZERS[sanitizer].items()}
    must(
        ["tools/build.sh", str(directory), "all", f"-DAPEX_SANITIZE={sanitizer}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"],
        REPORTS / f"build-{label}.log",
        7200,
    )
    return [
        *groups.unit(directory, f"unit-{label}", environment),
        *groups.live(directory, stack, f"live-{label}", environment),
        *groups.integration(
            f"integration-{label}", {**environment, "APEX_BIN": str(directory / "bin" / "apex")}, _SANITIZED_SECONDS
        ),
        *_reports(label, found),
    ]


def _reports(label: str, found: pathlib.Path) -> list[Result]:
    """What the sanitizer has found in any process, also in those whose end no test looks at."""
    reports = sorted(found.iterdir())
    if not reports:
        return [Result(f"no report of the {label} sanitizer", Outcome.PASSED, "")]
    return [Result(report.name, Outcome.FAILED, report.read_text(errors="replace")) for report in reports]


def all_groups(stack: Stack) -> list[tuple[str, Callable[[], list[Result]]]]:
    return [
        ("clang-format", formatting),
        ("clang-tidy", tidy),
        ("simulator", simulated),
        ("chaos", lambda: groups.chaos(300)),
        *((f"{sanitizer} sanitizer", lambda sanitizer=sanitizer: sanitized(sanitizer, stack)) for sanitizer in _SANITIZERS),
    ]

