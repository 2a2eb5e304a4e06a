"""The wake-up on a real server: who is notified, when, and what survives. No store and no sidecar takes part."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping

import psycopg
import pytest
from stores import Postgres, runtime_directory
from world import wait_until

# Long enough for a notification that is on its way: one takes about a quarter of a millisecond.
SILENCE_SECONDS = 0.5


class Database:
    """One database with an attached table, and sessions that end with it."""

    def __init__(self, cluster: Postgres) -> None:
        self.cluster = cluster
        self.name = f"wakeup_{secrets.token_hex(4)}"
        self.sessions: list[psycopg.Connection] = []
        with cluster.connect() as admin:
            admin.execute(f"CREATE DATABASE {self.name}")
        self.writer = self.connect()
        self.writer.execute("CREATE EXTENSION apex_saga")
        self.writer.execute("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text)")
        self.attach()

    def connect(self) -> psycopg.Connection:
        self.sessions.append(self.cluster.connect(self.name))
        return self.sessions[-1]

    def listen(self) -> psycopg.Connection:
        reader = self.connect()
        reader.execute("LISTEN apex_outbox")
        return reader

    def attach(self) -> None:
        self.writer.execute("SELECT apex.attach('notes', graph => apex.graph(label => 'Note', properties => ARRAY['title']))")

    def write(self) -> None:
        self.writer.execute("INSERT INTO notes (title) VALUES ('a')")

    def worker(self) -> int | None:
        """The process id of this database's worker."""
        with self.cluster.connect() as admin:
            found = admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'apex_saga wake-up' AND datname = %s", [self.name]
            ).fetchall()
        assert len(found) <= 1
        return found[0][0] if found else None

    def next_xid(self) -> int:
        """The next transaction id that the cluster gives away."""
        return self.writer.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()[0]

    def queue_usage(self) -> float:
        return self.writer.execute("SELECT pg_notification_queue_usage()").fetchone()[0]

    def close(self) -> None:
        for session in self.sessions:
            session.close()

    def drop(self, force: bool = True) -> None:
        self.close()
        with self.cluster.connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {self.name}" + (" WITH (FORCE)" if force else ""))


def arm(reader: psycopg.Connection) -> bool:
    return reader.execute("SELECT apex.arm()").fetchone()[0]


def warnings_of(session: psycopg.Connection) -> list[str]:
    said: list[str] = []
    session.add_notice_handler(lambda notice: said.append(notice.message_primary))
    return said


def notified(reader: psycopg.Connection, seconds: float = 60.0) -> bool:
    """Whether a notification comes; returns with it."""
    return any(True for _ in reader.notifies(timeout=seconds, stop_after=1))


def silent(reader: psycopg.Connection) -> bool:
    return not notified(reader, SILENCE_SECONDS)


@contextlib.contextmanager
def running(name: str, preload: bool, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    directory = runtime_directory("wakeup") / name
    Postgres(directory).remove()  # what an interrupted run left
    server = Postgres(directory, preload=preload, settings=settings)
    server.start()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module", params=[True, False], ids=["preloaded", "not preloaded"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with running("postgres", request.param) as server:
        yield server


@pytest.fixture
def database(cluster: Postgres) -> Iterator[Database]:
    made = Database(cluster)
    yield made
    made.drop()


def test_a_commit_notifies_once_per_arming(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    database.write()
    assert notified(reader)
    database.write()
    assert silent(reader), "nobody armed again"


def test_a_change_that_is_rolled_back_or_not_captured_notifies_nobody(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    with database.writer.transaction(force_rollback=True):
        database.write()
    database.writer.execute("CREATE TABLE elsewhere AS SELECT 1")
    assert silent(reader)
    database.write()
    assert notified(reader), "still armed"


def test_a_thousand_quick_commits_are_as_many_notifications_as_armings(database: Database) -> None:
    reader = database.listen()
    for _ in range(5):
        assert arm(reader)
        for _ in range(200):
            database.write()
        assert notified(reader)
        assert silent(reader), "one for each arming is enough"


def test_both_of_two_readers_are_woken(database: Database) -> None:
    first, second = database.listen(), database.listen()
    for _ in range(50):
        arm(first)
        arm(second)
        database.write()
        assert notified(first)
        assert notified(second)


def test_databases_are_woken_apart(cluster: Postgres, database: Database) -> None:
    other = Database(cluster)
    try:
        here, there = database.listen(), other.listen()
        assert arm(here)
        assert arm(there)
        database.write()
        assert notified(here)
        assert silent(there)
        assert database.worker() != other.worker()
    finally:
        other.drop()


def test_a_terminated_worker_is_replaced_at_the_next_arming(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    killed = database.worker()
    database.writer.execute("SELECT pg_terminate_backend(%s, 5000)", [killed])
    database.write()
    assert arm(reader)
    assert database.worker() not in (None, killed)
    database.write()
    assert notified(reader)


def test_a_failing_notification_is_sent_later_by_the_same_worker(database: Database) -> None:
    database.writer.execute(f"ALTER DATABASE {database.name} SET lock_timeout = '50ms'")
    reader = database.listen()
    assert arm(reader)
    worker = database.worker()
    blocker = database.connect()
    with blocker.transaction():
        # Makes the worker's transaction fail the way a full notification queue would: by an ERROR.
        blocker.execute("LOCK TABLE pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE")
        database.write()
        assert silent(reader)
    assert notified(reader)
    assert database.worker() == worker


def test_a_prepared_transaction_leaves_the_wake_up_to_the_poll(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    writer = database.connect()
    writer.execute("BEGIN")
    writer.execute("INSERT INTO notes (title) VALUES ('a')")
    writer.execute("PREPARE TRANSACTION 'prepared'")
    writer.execute("COMMIT PREPARED 'prepared'")
    assert silent(reader)
    database.write()
    assert notified(reader)


def test_commits_go_on_when_the_extension_is_dropped_while_armed(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    with database.writer.transaction():
        database.write()
        database.writer.execute("DROP EXTENSION apex_saga CASCADE")
    wait_until(lambda: database.worker() is None, message="the worker leaves")
    database.write()


def test_an_extension_created_again_is_served_by_the_worker_that_was_armed_before(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    worker = database.worker()
    database.writer.execute("DROP EXTENSION apex_saga CASCADE")
    database.writer.execute("CREATE EXTENSION apex_saga")
    database.attach()
    database.write()
    assert notified(reader)
    assert database.worker() == worker


def test_a_thousand_commits_between_two_armings_cost_one_more_xid(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    before = database.next_xid()
    for _ in range(1000):
        database.write()
    assert notified(reader)
    assert database.next_xid() - before == 1001


def test_a_listener_that_never_reads_leaves_the_queue_empty(database: Database) -> None:
    silent_one = database.listen()
    assert arm(silent_one)
    # Idle in a transaction it does not even take what is its own from the queue.
    silent_one.execute("BEGIN")
    for _ in range(1000):
        database.write()
    assert database.queue_usage() < 1e-5


def test_a_queue_that_somebody_holds_up_is_not_filled_further(cluster: Postgres, database: Database) -> None:
    reader, holder = database.listen(), database.listen()
    holder.execute("BEGIN")
    assert arm(reader)
    flood = "SELECT count(pg_notify('elsewhere', n || repeat('x', 7900))) FROM generate_series(1, 2000) AS n"
    while database.queue_usage() < 0.011:
        database.writer.execute(flood)
    # The worker looks at the queue once a second; a notification until then is allowed.
    for heard in iter(lambda: (arm(reader), database.write(), notified(reader, SILENCE_SECONDS))[-1], False):
        assert heard
    assert "does not add to a notification queue that is filling up" in cluster.log_text()
    holder.execute("COMMIT")
    assert notified(reader), "it was owed all the time"


def test_the_worker_of_a_reader_that_has_gone_is_not_in_the_way_of_drop_database(database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    assert database.worker()
    database.close()
    wait_until(lambda: database.worker() is None, message="the worker stays")
    database.drop(force=False)


def test_a_worker_killed_hard_takes_the_server_through_recovery_and_loses_no_event(cluster: Postgres, database: Database) -> None:
    reader = database.listen()
    assert arm(reader)
    database.write()
    started = database.writer.execute("SELECT pg_postmaster_start_time()").fetchone()[0]
    os.kill(wait_until(database.worker), signal.SIGKILL)
    # The server has noticed when it ends the other sessions; until then it would take new ones and end them too.
    with pytest.raises(psycopg.OperationalError):
        database.writer.execute("SELECT pg_sleep(60)")
    wait_until(cluster.is_ready)
    reader = database.listen()
    database.writer = database.connect()
    assert database.writer.execute("SELECT count(*) FROM apex.outbox").fetchone()[0] == 1
    assert database.writer.execute("SELECT pg_postmaster_start_time()").fetchone()[0] == started
    assert arm(reader)
    database.write()
    assert notified(reader)


@pytest.mark.timeout(100)
def test_a_commit_wakes_the_worker_itself(database: Database) -> None:
    """One that only looked around once a second would not be through within the time the test has."""
    reader = database.listen()
    for _ in range(200):
        assert arm(reader)
        database.write()
        assert notified(reader)


def test_without_a_free_worker_there_is_one_warning_and_polling_until_one_is_free() -> None:
    # One of the two is the launcher of logical replication.
    with running("few-workers", preload=True, settings={"max_worker_processes": "2"}) as server:
        first, second = Database(server), Database(server)
        here, there = first.listen(), second.listen()
        assert arm(here)
        said = warnings_of(there)
        assert not arm(there)
        assert not arm(there)
        assert said == ["apex_saga found no free background worker"]
        second.write()
        assert silent(there)
        here.close()
        wait_until(lambda: arm(there), message="the worker of a reader that has gone makes room")
        second.write()
        assert notified(there)


def test_a_writer_that_came_before_every_reader_wakes_the_first_one() -> None:
    with running("early-writer", preload=False) as server:
        database = Database(server)
        database.write()
        reader = database.listen()
        assert arm(reader)
        database.write()
        assert notified(reader)


@pytest.mark.parametrize("preload", [True, False], ids=["preloaded", "not preloaded"])
def test_a_standby_says_poll_until_it_is_promoted(preload: bool) -> None:
    with running("primary", preload) as primary:
        database = Database(primary)
        with standby_of(primary, preload) as standby:
            reader = standby.connect(database.name)
            said = warnings_of(reader)
            assert not arm(reader)
            assert not said
            reader.execute("SELECT pg_promote()")
            reader.execute("LISTEN apex_outbox")
            assert arm(reader)
            with standby.connect(database.name) as writer:
                writer.execute("INSERT INTO notes (title) VALUES ('a')")
            assert notified(reader)
            reader.close()


@contextlib.contextmanager
def standby_of(primary: Postgres, preload: bool) -> Iterator[Postgres]:
    directory = runtime_directory("wakeup") / "standby"
    Postgres(directory).remove()
    directory.mkdir(parents=True)
    shutil.copy(primary.directory / "password", directory)
    standby = Postgres(directory, preload=preload)
    subprocess.run(
        [standby.bin / "pg_basebackup", "--pgdata", standby.data, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"],
        env={**os.environ, **primary.variables},
        check=True,
    )
    if os.getuid() == 0:
        subprocess.run(["chown", "--recursive", "postgres:postgres", directory], check=True)
    standby.start()
    try:
        yield standby
    finally:
        standby.remove()
