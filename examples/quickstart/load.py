"""Writes the packages into PostgreSQL, with plain SQL and nothing else."""

from collections.abc import Callable

import psycopg

from embedding import embed
from packages import Package

_DOCUMENT = """
INSERT INTO documents (name, title, version, installed_kb, section_id, maintainer_id, embedding)
VALUES (%s, %s, %s, %s,
        (SELECT id FROM entities WHERE kind = 'section' AND name = %s),
        (SELECT id FROM entities WHERE kind = 'maintainer' AND name = %s), %s)
RETURNING id
"""
_CHUNK = "INSERT INTO chunks (document_id, place, body, embedding) VALUES (%s, %s, %s, %s)"
_DEPENDS = """
INSERT INTO depends (package_id, needs_id)
SELECT package.id, needed.id FROM documents package, documents needed WHERE package.name = %s AND needed.name = ANY (%s)
"""


def load(session: psycopg.Connection, packages: list[Package], progress: Callable[[int], None]) -> None:
    """One transaction for each document and its chunks; `progress` is told how many packages are in."""
    entities = {("section", package.section) for package in packages} | {("maintainer", package.maintainer) for package in packages}
    with session.transaction(), session.cursor() as cursor:
        cursor.executemany("INSERT INTO entities (kind, name) VALUES (%s, %s)", sorted(entities))
    for done, package in enumerate(packages, 1):
        with session.transaction(), session.cursor() as cursor:
            add_document(cursor, package)
        progress(done)
    # A package may need one that comes later in the alphabet, so these wait until all are in.
    with session.transaction(), session.cursor() as cursor:
        cursor.executemany(_DEPENDS, [(package.name, package.needs) for package in packages if package.needs])


def add_document(cursor: psycopg.Cursor, package: Package) -> str:
    """Returns the new document's id."""
    row = cursor.execute(
        _DOCUMENT,
        [
            package.name,
            package.title,
            package.version,
            package.installed_kb,
            package.section,
            package.maintainer,
            embed(f"{package.name}. {package.title}"),
        ],
    ).fetchone()
    assert row is not None
    document = row[0]
    cursor.executemany(
        _CHUNK,
        [
            # The title says what a paragraph such as "This package contains the documentation" is about.
            (document, place, body, embed(f"{package.title}. {body}"))
            for place, body in enumerate(package.paragraphs)
        ],
    )
    return str(document)
