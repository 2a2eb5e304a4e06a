"""The extension beside other libraries of its server: one that writes while a transaction commits, a random source that fails,
and a function that throws through the extension's own door."""

import shutil
from collections.abc import Iterator, Sequence

import modules
import psycopg
import pytest

from stores import Postgres, runtime_directory


class ShadowedPostgres(Postgres):
    """A server whose random source is modules/random_source.c."""

    def command(self) -> Sequence[str]:
        command = list(super().command())
        program = command.index(str(self.bin / "postgres"))
        return [*command[:program], "env", f"LD_PRELOAD={modules.build('random_source')}", *command[program:]]


# Nothing is preloaded, so that a session says itself in which order libraries come.
@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    directory = runtime_directory("modules") / "postgres"
    Postgres(directory).remove()
    server = ShadowedPostgres(directory, preload=False)
    server.start()
    with server.connect() as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute(f"CREATE FUNCTION write_at_commit(text) RETURNS void LANGUAGE c AS '{modules.build('late_writer')}'")
        session.execute(f"CREATE FUNCTION fail_random_source(bool) RETURNS void LANGUAGE c AS '{modules.build('random_source')}'")
        session.execute(f"CREATE FUNCTION throw_exception(text) RETURNS void LANGUAGE c AS '{modules.build('guarded')}'")
        session.execute(f"CREATE FUNCTION raise_error() RETURNS void LANGUAGE c AS '{modules.build('guarded')}'")
        session.execute("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text)")
        session.execute("SELECT apex.attach('notes', graph => apex.graph(label => 'Note', properties => ARRAY['title']))")
        session.execute("CREATE TABLE plain (title text)")
    yield server
    server.remove()
    shutil.rmtree(modules.build("guarded").parent)


@pytest.fixture
def session(cluster: Postgres) -> Iterator[psycopg.Connection]:
    with cluster.connect() as made:
        yield made


# ---- A library that writes while the transaction commits ----


def captured_titles(session: psycopg.Connection) -> list[tuple[str, str]]:
    return session.execute("SELECT op::text, after ->> 'title' FROM apex.outbox ORDER BY seq").fetchall()


@pytest.mark.parametrize("end", [["COMMIT"], ["PREPARE TRANSACTION 'late'", "COMMIT PREPARED 'late'"]], ids=["commit", "prepare"])
@pytest.mark.parametrize("first", ["INSERT INTO notes (title) VALUES ('first')", "INSERT INTO plain VALUES ('unattached')"])
def test_what_is_written_by_a_library_that_commits_after_the_extension_is_captured(
    session: psycopg.Connection, first: str, end: list[str]
) -> None:
    session.execute(f"LOAD '{modules.build('late_writer')}'")
    session.execute("DELETE FROM apex.outbox_blocks")
    session.execute("BEGIN")
    late = "INSERT INTO notes (title) VALUES ('late'); INSERT INTO notes (title) SELECT 'after ' || n FROM generate_series(1, 2) n"
    session.execute("SELECT write_at_commit(%s)", [late])
    session.execute(first)
    for statement in end:
        session.execute(statement)
    before = [("I", "first")] if "notes" in first else []
    assert captured_titles(session) == [*before, ("I", "late"), ("I", "after 1"), ("I", "after 2")]
    # The next transaction collects as ever.
    session.execute("INSERT INTO notes (title) SELECT 'next' FROM generate_series(1, 3)")
    newest = "SELECT events FROM apex.outbox_blocks ORDER BY seq DESC LIMIT 1"
    assert session.execute(newest).fetchone() == (3,)


def test_what_is_written_while_a_procedure_commits_is_captured_by_a_library_that_is_loaded_then(session: psycopg.Connection) -> None:
    session.execute("DELETE FROM apex.outbox_blocks")
    session.execute(
        """CREATE OR REPLACE PROCEDURE commits() LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM write_at_commit('INSERT INTO notes (title) VALUES (''late'')');
          COMMIT;
          INSERT INTO notes (title) SELECT 'next' FROM generate_series(1, 2);
        END $$"""
    )
    session.execute("CALL commits()")
    assert captured_titles(session) == [("I", "late"), ("I", "next"), ("I", "next")]
    assert session.execute("SELECT count(*) FROM apex.outbox_blocks").fetchone() == (2,)


def test_a_row_that_is_refreshed_while_the_transaction_commits_is_sent(session: psycopg.Connection) -> None:
    session.execute(f"LOAD '{modules.build('late_writer')}'")
    session.execute("INSERT INTO notes (title) VALUES ('there')")
    there = session.execute("SELECT max(id) FROM notes").fetchone()[0]
    session.execute("DELETE FROM apex.outbox_blocks")
    session.execute("BEGIN")
    refreshes = f"SELECT apex.refresh('notes', '{there}'), apex.refresh('notes', '0')"
    session.execute("SELECT write_at_commit(%s)", [refreshes])
    session.execute("COMMIT")
    assert captured_titles(session) == [("R", "there"), ("D", None)]


# ---- A random source that fails ----


@pytest.mark.parametrize("ids", ["uuid7()", "uuid7_batch(3)", "generate_uuid7()", "generate_id()", "uuid7(now())"])
def test_a_random_source_that_fails_is_an_error_and_no_weaker_source_takes_its_place(
    session: psycopg.Connection, ids: str
) -> None:
    session.execute("SELECT fail_random_source(true)")
    for _ in range(2):
        with pytest.raises(psycopg.errors.InternalError_, match="could not generate random values"):
            session.execute(f"SELECT {ids}")
    session.execute("SELECT fail_random_source(false)")
    assert session.execute(f"SELECT is_uuid7({ids})").fetchone() == (True,)


def test_a_random_source_that_fails_later_is_an_error_once_the_pool_is_empty(session: psycopg.Connection) -> None:
    session.execute("SELECT uuid7(), fail_random_source(true)")
    with pytest.raises(psycopg.errors.InternalError_, match="could not generate random values"):
        session.execute("SELECT count(uuid7()) FROM generate_series(1, 100000)")


# ---- A C++ exception ----


@pytest.mark.parametrize(
    ("kind", "sqlstate", "message", "hint"),
    [
        ("memory", "53200", "apex_saga: out of memory", None),
        ("defect", "XX000", "apex_saga: an invariant does not hold", "This is a defect of apex_saga. Please report it."),
        ("long", "XX000", "apex_saga: " + "x" * 511, "This is a defect of apex_saga. Please report it."),
        ("other", "XX000", "apex_saga: unknown C++ exception", "This is a defect of apex_saga. Please report it."),
    ],
)
def test_a_cpp_exception_is_an_sql_error_that_the_session_survives(
    session: psycopg.Connection, kind: str, sqlstate: str, message: str, hint: str | None
) -> None:
    with pytest.raises(psycopg.Error) as raised:
        session.execute("SELECT throw_exception(%s)", [kind])
    assert (raised.value.sqlstate, raised.value.diag.message_primary, raised.value.diag.message_hint) == (sqlstate, message, hint)
    # Caught in a block of PL/pgSQL, it is an ERROR like any other.
    session.execute("DO $$ BEGIN PERFORM throw_exception('defect'); EXCEPTION WHEN internal_error THEN NULL; END $$")
    assert session.execute("SELECT 1").fetchone() == (1,)


def test_an_error_of_the_server_passes_the_guard_as_it_is(session: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="^raised by the server$"):
        session.execute("SELECT raise_error()")
