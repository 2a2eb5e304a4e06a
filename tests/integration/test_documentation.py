"""The examples of the documentation run as they stand: SQL through psql, Python through the clients."""

import os
import pathlib
import re
import subprocess
import sys

from world import World, wait_until

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```", (DOCS / page).read_text(), flags=re.DOTALL | re.MULTILINE)


def psql(world: World, text: str) -> str:
    done = subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", world.dsn], input=text, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(world: World, text: str) -> str:
    environment = {**os.environ, **world.stack.sidecar_variables(world.database)}
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_of_the_sql_page_runs(world: World) -> None:
    said = psql(world, "\n".join(text for language, text in blocks("reference/sql.md") if language == "sql"))
    assert " synced" in said


def test_the_tutorial_brings_rows_into_every_store_parks_one_and_mends_it(world: World) -> None:
    tutorial = blocks("tutorial.md")
    look = next(text for language, text in tutorial if language == "python")
    # The fixture has done the first step already.
    steps = [text for language, text in tutorial if language == "sql" and not text.startswith("CREATE EXTENSION")]
    tables, attach, write, change, poison, mend = steps

    psql(world, tables + attach)
    assert " synced" in psql(world, write)
    seen = python(world, look)
    assert seen.count("Frankenstein") == 3 and "Mary Shelley" in seen

    assert " synced" in psql(world, change)
    assert python(world, look).count("Modern Prometheus") == 3

    said = psql(world, poison)
    assert " parked" in said and "write_qdrant" in said and "dimension" in said
    wait_until(lambda: python(world, look).count("The Last Man") == 3)
    assert "Poison" not in python(world, look)

    assert " synced" in psql(world, mend)
    assert python(world, look).count("Mathilda") == 3
    wait_until(lambda: world.parked() == [])
