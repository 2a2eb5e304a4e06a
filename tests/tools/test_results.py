"""`make check` has to count what the test programs say, above all when they fail."""

import pathlib

import pytest

from checks.results import Outcome, from_junit, from_regress


def read(tmp_path: pathlib.Path, text: str) -> list[tuple[str, Outcome]]:
    report = tmp_path / "report.xml"
    report.write_text(text)
    return [(result.name, result.outcome) for result in from_junit(report)]


def test_ctest_report_tells_passed_failed_and_not_run(tmp_path):
    assert read(
        tmp_path,
        """<testsuite><testcase name="a" classname="a" status="run"/>
        <testcase name="b" classname="b" status="fail"><failure message=""/><system-out>why</system-out></testcase>
        <testcase name="c" classname="c" status="notrun"><skipped message="no server"/></testcase></testsuite>""",
    ) == [("a", Outcome.PASSED), ("b", Outcome.FAILED), ("c", Outcome.SKIPPED)]


def test_googletest_report_tells_passed_failed_and_skipped(tmp_path):
    assert read(
        tmp_path,
        """<testsuites><testsuite name="S"><testcase name="a" classname="S" status="run" result="completed"/>
        <testcase name="b" classname="S" status="run"><failure message="expected 1"/></testcase>
        <testcase name="c" classname="S" status="run" result="skipped"><skipped message="no address"/></testcase>
        </testsuite></testsuites>""",
    ) == [("S.a", Outcome.PASSED), ("S.b", Outcome.FAILED), ("S.c", Outcome.SKIPPED)]


def test_error_in_a_pytest_fixture_is_a_failure(tmp_path):
    text = '<testsuites><testsuite><testcase classname="m" name="t"><error message="at setup"/></testcase></testsuite></testsuites>'
    assert read(tmp_path, text) == [("m.t", Outcome.FAILED)]


def test_failure_keeps_its_reason(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text('<t><testcase name="a"><failure message="expected 1">got 2</failure></testcase></t>')
    assert from_junit(report)[0].detail == "expected 1\ngot 2"


@pytest.mark.parametrize("text", ["", "<testsuites><testcase"])
def test_report_cut_short_by_a_crash_gives_no_results(tmp_path, text):
    assert read(tmp_path, text) == []


@pytest.mark.parametrize(
    ("line", "name", "outcome"),
    [
        ("test uuid7                        ... ok          123 ms", "uuid7", Outcome.PASSED),
        ("test attach                       ... FAILED       12 ms", "attach", Outcome.FAILED),
        ("test capture                      ... FAILED (test process exited with exit code 2)     12 ms", "capture", Outcome.FAILED),
        ("     outbox                       ... ok           12 ms", "outbox", Outcome.PASSED),
        ("ok 3         - uuid7                      103 ms", "uuid7", Outcome.PASSED),
        ("not ok 4     - attach                      12 ms", "attach", Outcome.FAILED),
    ],
)
def test_line_of_pg_regress_is_read_in_old_and_new_format(line, name, outcome):
    result = from_regress(line.strip())
    assert result is not None
    assert (result.name, result.outcome) == (name, outcome)


@pytest.mark.parametrize(
    "line", ["============== dropping database \"regression\" ==============", " All 3 tests passed. ", "1..4", "# all 4 tests passed"]
)
def test_other_lines_of_pg_regress_are_not_results(line):
    assert from_regress(line) is None
