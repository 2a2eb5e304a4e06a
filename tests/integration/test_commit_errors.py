"""What fails on the way to a commit aborts that transaction, its event included, and nothing else. No store takes part.

`make check-matrix ASSERTS=1` raises errors at every call; here are the ones that a server meets: a full disk, a timeout, an
administrator, a constraint that is checked last.
"""

import threading
from collections.abc import Iterator, Sequence

import psycopg
import pytest
from stores import Postgres, runtime_directory
from world import wait_until

# More than a WAL segment, whose files are as long from the start: nothing but tables hits the limit.
FILE_BYTES_MAX = 17 << 20


class CrampedPostgres(Postgres):
    """No file of it grows beyond the limit, which is to it as if the disk were full."""

    def command(self) -> Sequence[str]:
        return ["prlimit", f"--fsize={FILE_BYTES_MAX}", *super().command()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    directory = runtime_directory("commit-errors") / "postgres"
    Postgres(directory).remove()
    server = CrampedPostgres(directory)
    server.start()
    with server.connect() as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text)")
        session.execute("SELECT apex.attach('notes', graph => apex.graph(label => 'Note', properties => ARRAY['title']))")
    yield server
    server.remove()


@pytest.fixture
def writer(cluster: Postgres) -> Iterator[psycopg.Connection]:
    """A session; after the test the server has to be the same, with as many events as there are rows, and to go on."""
    with cluster.connect() as observer:
        observer.execute("DELETE FROM notes")
        kept = facts(observer)
        with cluster.connect() as session:
            yield session
        assert facts(observer) == kept, "the transaction that failed has left something, or the server has restarted"
        observer.execute("INSERT INTO notes (title) VALUES ('goes on')")
        assert facts(observer) == (kept[0], kept[1] + 1, kept[2] + 1)
    assert "PANIC" not in cluster.log_text()


def facts(session: psycopg.Connection) -> tuple[object, int, int]:
    return session.execute(
        "SELECT pg_postmaster_start_time(), (SELECT count(*) FROM notes), (SELECT count(*) FROM apex.outbox)"
    ).fetchone()


def waits_for_a_lock(observer: psycopg.Connection, session: psycopg.Connection) -> bool:
    pid = session.info.backend_pid
    return observer.execute("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()[0]


def test_a_full_disk_fails_the_transaction_whose_event_has_no_room(writer: psycopg.Connection) -> None:
    with pytest.raises(psycopg.DatabaseError, match="File too large"), writer.transaction():
        writer.execute("INSERT INTO notes (title) VALUES ('')")
        for _ in range(100):
            # The row stays one row; its events hold each of its values, of random letters that do not compress.
            writer.execute("UPDATE notes SET title = (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 6250))")


def test_a_commit_that_gives_up_waiting_for_the_outbox_leaves_nothing(
    cluster: Postgres, writer: psycopg.Connection
) -> None:
    with cluster.connect() as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE apex.outbox IN ACCESS EXCLUSIVE MODE")
        writer.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable), writer.transaction():
            writer.execute("INSERT INTO notes (title) VALUES ('a')")


def test_a_session_that_is_ended_while_its_commit_waits_for_the_outbox_leaves_nothing(
    cluster: Postgres, writer: psycopg.Connection
) -> None:
    raised: list[BaseException] = []

    def write() -> None:
        try:
            with writer.transaction():
                writer.execute("INSERT INTO notes (title) VALUES ('a')")
        except psycopg.DatabaseError as error:
            raised.append(error)

    with cluster.connect() as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE apex.outbox IN ACCESS EXCLUSIVE MODE")
        writing = threading.Thread(target=write)
        writing.start()
        wait_until(lambda: waits_for_a_lock(blocker, writer))
        blocker.execute("SELECT pg_terminate_backend(%s)", [writer.info.backend_pid])
        writing.join()
    assert isinstance(raised[0], psycopg.errors.AdminShutdown)


@pytest.mark.parametrize("end", ["COMMIT", "PREPARE TRANSACTION 'apex_failing'"])
def test_a_constraint_that_fails_at_the_very_end_leaves_nothing_and_wakes_nobody(
    cluster: Postgres, writer: psycopg.Connection, end: str
) -> None:
    with cluster.connect() as reader:
        reader.execute("CREATE TABLE parents (id int PRIMARY KEY)")
        reader.execute("CREATE TABLE children (parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        reader.execute("LISTEN apex_outbox")
        assert reader.execute("SELECT apex.arm()").fetchone()[0]
        writer.execute("BEGIN")
        writer.execute("INSERT INTO notes (title) VALUES ('a')")
        writer.execute("INSERT INTO children VALUES (1)")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            writer.execute(end)
        assert not list(reader.notifies(timeout=0.3, stop_after=1))
        reader.execute("DROP TABLE children, parents")
