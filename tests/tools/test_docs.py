"""The documentation against what it speaks of: links, SQL functions, metrics."""

import pathlib
import re
import subprocess
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
# What a role is granted by apex.grant_sidecar and people call as well; the rest of it is the sidecar's own.
CALLED_BY_PEOPLE = {
    "apex.retry", "apex.discard", "apex.status", "apex.restored", "apex.grant_sidecar",
    "apex.invalidate", "apex.invalidate_user", "apex.invalidate_query_cache",
}

PAGES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.splitlines()


def prose(page: pathlib.Path) -> str:
    """The text without fenced blocks and code, where brackets mean something else."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", " ", code[0]), text)


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors that a renderer makes of headings."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(ROOT / page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def install_script() -> str:
    text = "".join(path.read_text() for path in sorted((ROOT / "extension" / "sql").glob("[0-9]*.sql")))
    return re.sub(r"^--.*$", "", text, flags=re.MULTILINE).replace("@extschema@.", "")


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def signatures() -> list[tuple[str, str]]:
    """(name, signature as the page writes it) of every function and procedure."""
    made = re.findall(
        r"^CREATE (?:FUNCTION|PROCEDURE) ([\w.]+)\s*\((.*?)\)(?:\s+RETURNS\s+((?:SETOF )?\w+(?:\s*\(.*?\))?))?\s+LANGUAGE",
        install_script(),
        flags=re.DOTALL | re.MULTILINE,
    )
    return [(name, squeezed(f"{name}({arguments}) → {result}" if result else f"{name}({arguments})")) for name, arguments, result in made]


def revoked() -> set[str]:
    lists = re.findall(r"REVOKE ALL ON FUNCTION(.*?)FROM PUBLIC", install_script(), flags=re.DOTALL)
    return {name for each in lists for name in re.findall(r"(apex\.\w+)\(", each)}


def blocks(page: pathlib.Path, language: str) -> str:
    """All fenced blocks of a language, '' for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return squeezed(" ".join(text for named, text in found if named == language))


def test_every_function_that_people_may_call_is_on_the_sql_page_with_its_signature():
    hidden = revoked() - CALLED_BY_PEOPLE
    public = [(name, signature) for name, signature in signatures() if name not in hidden and not signature.endswith("→ trigger")]
    assert len(public) > 20
    page = blocks(REFERENCE / "sql.md", "")
    assert [signature for _, signature in public if signature not in page] == []


def test_every_signature_on_the_sql_page_is_made_by_the_extension():
    page = blocks(REFERENCE / "sql.md", "")
    for _, signature in sorted(signatures(), key=lambda each: -len(each[1])):
        page = page.replace(signature, "")
    assert page.strip() == ""


def test_every_view_that_people_read_is_on_the_sql_page():
    views = re.findall(r"^CREATE VIEW ([\w.]+)", install_script(), flags=re.MULTILINE)
    headings = re.findall(r"^### (.+)$", (REFERENCE / "sql.md").read_text(), flags=re.MULTILINE)
    assert views and set(views) <= set(headings)


def test_every_column_of_a_view_is_on_the_sql_page():
    body = re.search(r"CREATE VIEW apex\.failed_sagas AS(.*?)FROM apex\.saga s WHERE", install_script(), flags=re.DOTALL)[1]
    columns = re.findall(r"s\.(\w+)(?=,|\s*$)", body) + re.findall(r"\) AS (\w+)", body)
    section = (REFERENCE / "sql.md").read_text().split("### apex.failed_sagas\n")[1].split("\n### ")[0]
    documented = {name for row in re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert documented == set(columns)


def test_the_metrics_page_names_each_metric_with_its_type_and_nothing_else():
    golden = (ROOT / "tests" / "unit" / "metrics" / "golden_names.txt").read_text()
    wanted = set(re.findall(r"^# TYPE (\w+) (\w+)$", golden, flags=re.MULTILINE))
    page = (REFERENCE / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(apex_\w+)` \| (\w+) \|", page, flags=re.MULTILINE)) == wanted


def test_the_metrics_page_lists_every_label_and_value():
    golden = (ROOT / "tests" / "unit" / "metrics" / "golden_names.txt").read_text()
    page = (REFERENCE / "metrics.md").read_text()
    labels = page.split("| label | values |")[1].split("\n\n")[0]
    for label, value in set(re.findall(r'(\w+)="([^"]*)"', golden)) - {("version", "*")}:
        if label != "le":
            assert f"`{label}`" in page and f"`{value}`" in labels, (label, value)


def test_promql_on_the_metrics_page_speaks_of_metrics_that_exist():
    golden = (ROOT / "tests" / "unit" / "metrics" / "golden_names.txt").read_text()
    series = {line.partition("{")[0] for line in golden.splitlines() if not line.startswith("#")}
    named = set(re.findall(r"apex_\w+", blocks(REFERENCE / "metrics.md", "promql")))
    assert named and named <= series


def toml_examples() -> list[tuple[str, str]]:
    example = re.compile(r"^ *```toml\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
    return [(page, text) for page in PAGES for text in example.findall((ROOT / page).read_text())]


@pytest.mark.parametrize(("page", "text"), toml_examples(), ids=lambda value: value if value in PAGES else "example")
def test_a_toml_example_uses_keys_that_exist(page, text):
    page_of_keys = (REFERENCE / "configuration.md").read_text()
    table = re.findall(r"^\| `(\w+\.\w+)`(?:<br>`(\w+\.\w+)`)?", page_of_keys, flags=re.MULTILINE)
    known = {name for row in table for name in row if name}
    used = {f"{section}.{key}" for section, keys in tomllib.loads(text).items() for key in keys}
    assert used and used <= known
