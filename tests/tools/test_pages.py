"""tools/checks/pages.py: a page whose commands fail is a failed test."""

import pytest
from checks import pages, runner
from checks.results import Outcome

PAGE = """# Title
## First
```sh
greet() { echo "hello $WHO"; }
```
Not run:
```sql
SELECT 1;
```
### Second
```sh
[ "$(greet)" = "hello you" ]
%s
```
## Third
```sh
true
```
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    return tmp_path / "page.md"


def test_blocks_carry_the_headings_above_them():
    assert [block.name for block in pages.blocks(PAGE)] == ["First", "First: Second", "Third"]
    assert pages.blocks(PAGE)[2].commands == "true\n"


def test_blocks_share_one_shell(page):
    page.write_text(PAGE % "true")
    assert [result.outcome for result in pages.run(page, {"WHO": "you"}, 10)] == [Outcome.PASSED] * 3


def test_first_failure_ends_the_page_and_says_what_it_said(page):
    page.write_text(PAGE % "echo the reason; false; echo not reached")
    results = pages.run(page, {"WHO": "you"}, 10)
    assert [result.outcome for result in results] == [Outcome.PASSED, Outcome.FAILED, Outcome.FAILED]
    assert "the reason" in results[1].detail
    assert "not reached" not in results[1].detail
    assert "not run" in results[2].detail
