"""What is captured where SQL tests do not reach: logical replication, other encodings, many sessions at random.

These tests speak to the extension alone; no store and no sidecar takes part.
"""

import contextlib
import os
import random
import secrets
import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import namedtuple_row
from world import wait_until

from stores import Postgres, runtime_directory

ITEM = "CREATE TABLE item (id int PRIMARY KEY, name text, n int)"
ATTACH = "SELECT apex.attach('item', cache => apex.cache('item', columns => ARRAY['id', 'name', 'n']))"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    server = Postgres(runtime_directory("capture") / str(os.getpid()), settings={"wal_level": "logical"})
    server.start()
    yield server
    server.remove()


class Databases:
    def __init__(self, cluster: Postgres) -> None:
        self.cluster = cluster
        self.names: list[str] = []

    def make(self, *statements: str, options: str = "") -> psycopg.Connection:
        """A session of a new database with the extension."""
        name = f"capture_{secrets.token_hex(4)}"
        with self.cluster.connect() as admin:
            admin.execute(f"CREATE DATABASE {name} {options}")
        self.names.append(name)
        session = self.cluster.connect(name)
        for statement in ["CREATE EXTENSION apex_saga", *statements]:
            session.execute(statement)
        return session

    def drop(self) -> None:
        with self.cluster.connect() as admin:
            for name in self.names:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def databases(cluster: Postgres) -> Iterator[Databases]:
    made = Databases(cluster)
    yield made
    made.drop()


def events(session: psycopg.Connection) -> list[tuple]:
    return session.execute("SELECT op, key, after FROM apex.outbox ORDER BY xid, command, seq").fetchall()


# ---- Logical replication ----


@pytest.fixture
def replicated(cluster: Postgres, databases: Databases) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """A publisher with a row in it, and a subscriber whose table is attached."""
    publisher = databases.make(ITEM, "CREATE PUBLICATION everything FOR TABLE item", "INSERT INTO item VALUES (1, 'there before', 0)")
    subscriber = databases.make(ITEM, ATTACH)
    # In one cluster the slot has to be there already: making it would wait for the transaction of CREATE SUBSCRIPTION.
    slot = f"slot_{secrets.token_hex(4)}"
    publisher.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    subscriber.execute(
        f"CREATE SUBSCRIPTION {slot} CONNECTION '{cluster.dsn_of(publisher.info.dbname)}' PUBLICATION everything WITH (create_slot = false)"
    )
    wait_until(lambda: subscriber.execute("SELECT count(*) FROM item").fetchone() == (1,))
    yield publisher, subscriber
    subscriber.execute(f"ALTER SUBSCRIPTION {slot} DISABLE")
    subscriber.execute(f"ALTER SUBSCRIPTION {slot} SET (slot_name = NONE)")
    subscriber.execute(f"DROP SUBSCRIPTION {slot}")
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    wait_until(lambda: publisher.execute(active, [slot]).fetchone() == (False,))
    publisher.execute("SELECT pg_drop_replication_slot(%s)", [slot])


def test_what_logical_replication_copies_and_applies_is_captured(replicated: tuple[psycopg.Connection, psycopg.Connection]) -> None:
    publisher, subscriber = replicated
    assert events(subscriber) == [("I", [1], {"id": 1, "name": "there before", "n": 0})]
    # The subscription says when it is done copying; changes until then are the copy's.
    ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'"
    wait_until(lambda: subscriber.execute(ready).fetchone() == (0,))
    with publisher.transaction():
        publisher.execute("INSERT INTO item VALUES (2, 'two', 0), (3, 'three', 0)")
        publisher.execute("SAVEPOINT s")
        publisher.execute("DELETE FROM item")
        publisher.execute("ROLLBACK TO s")
        publisher.execute("UPDATE item SET n = 1 WHERE id = 2")
    publisher.execute("UPDATE item SET id = 4 WHERE id = 3")
    publisher.execute("DELETE FROM item WHERE id = 1")
    wait_until(lambda: subscriber.execute("SELECT count(*) FROM item WHERE id = 1").fetchone() == (0,))
    assert events(subscriber)[1:] == [
        ("I", [2], {"id": 2, "name": "two", "n": 0}),
        ("I", [3], {"id": 3, "name": "three", "n": 0}),
        ("U", [2], {"id": 2, "name": "two", "n": 1}),
        ("D", [3], None),
        ("I", [4], {"id": 4, "name": "three", "n": 0}),
        ("D", [1], None),
    ]


# ---- Partitions ----


@pytest.mark.parametrize("command", ["ALTER TABLE visit DETACH PARTITION visit_1", "DROP TABLE visit_1"])
def test_a_partition_goes_only_when_its_last_writer_has_and_takes_that_row_too(databases: Databases, command: str) -> None:
    session = databases.make(
        "CREATE TABLE visit (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (1) TO (10)",
        "SELECT apex.attach('visit', apex.graph('Visit', ARRAY['note']))",
        "INSERT INTO visit VALUES (1, 'there')",
    )
    writer, mover = (databases.cluster.connect(session.info.dbname) for _ in range(2))
    with writer, mover:
        with writer.transaction():
            writer.execute("INSERT INTO visit VALUES (2, 'late')")
            writer.execute("UPDATE visit SET note = 'changed' WHERE id = 1")
            moving = threading.Thread(target=mover.execute, args=[command])
            moving.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
            wait_until(lambda: session.execute(waiting, [mover.info.backend_pid]).fetchone() == (1,))
            writer.execute("INSERT INTO visit VALUES (3, 'later still')")
        moving.join()
    last = {key[0]: (op, after) for op, key, after in events(session)}
    assert last == {1: ("D", None), 2: ("D", None), 3: ("D", None)}


# ---- Encodings ----


@pytest.mark.parametrize(("encoding", "text"), [("LATIN1", "é"), ("WIN1251", "бэ"), ("EUC_JP", "日本"), ("UTF8", "é бэ 日本 🎈")])
def test_text_of_a_database_of_another_encoding_is_captured_whole(databases: Databases, encoding: str, text: str) -> None:
    session = databases.make(ITEM, ATTACH, options=f"ENCODING {encoding} LOCALE 'C' TEMPLATE template0")
    session.execute("SET client_encoding = UTF8")
    session.execute("INSERT INTO item VALUES (1, %s, 0)", [text * 3])
    assert events(session) == [("I", [1], {"id": 1, "name": text * 3, "n": 0})]


def test_text_that_no_encoding_vouches_for_is_captured_when_it_is_utf_8(databases: Databases) -> None:
    session = databases.make(ITEM, ATTACH, options="ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
    session.execute("SET client_encoding = SQL_ASCII")
    session.execute("INSERT INTO item VALUES (1, convert_from('\\xc3a9', 'SQL_ASCII'), 0), (2, convert_from('\\xe9', 'SQL_ASCII'), 0)")
    session.execute("UPDATE item SET n = 1")
    session.execute("DELETE FROM item")
    found = session.execute("SELECT op, key, after IS NULL, error FROM apex.outbox ORDER BY xid, command, seq").fetchall()
    problem = b'column "name": the text is not valid UTF-8'
    assert found == [
        (b"I", [1], False, None),
        (b"I", [2], True, problem),
        (b"U", [1], False, None),
        (b"U", [2], True, problem),
        (b"D", [1], True, None),
        (b"D", [2], True, None),
    ]


# ---- At random ----

SESSIONS = 4
TRANSACTIONS = 60
ROWS = 12
# Each is a change of a random row; those of a trigger's kind change it again.
STATEMENTS = [
    "INSERT INTO item VALUES ({a}, 'made', {n}) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    "INSERT INTO item VALUES ({a}, 'made', {n}) ON CONFLICT DO NOTHING",
    "INSERT INTO item VALUES ({a}, 'may fail', {n})",
    "UPDATE item SET n = {n} WHERE id = {a}",
    "UPDATE item SET n = n WHERE id = {a}",
    "UPDATE item SET id = {b} WHERE id = {a}",
    "UPDATE item SET n = n + 1 WHERE id BETWEEN least({a}, {b}) AND greatest({a}, {b})",
    "UPDATE item SET name = 'again' WHERE id = {a}",
    "DELETE FROM item WHERE id = {a}",
    "SELECT count(*) FROM (SELECT FROM item WHERE id = {a} FOR UPDATE) locked",
    "MERGE INTO item USING (VALUES ({a}, {n})) v(id, n) ON item.id = v.id WHEN MATCHED AND v.n % 3 = 0 THEN DELETE"
    " WHEN MATCHED THEN UPDATE SET n = v.n WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merged', v.n)",
    "DO $$ BEGIN UPDATE item SET n = {n} WHERE id = {a}; IF {n} % 2 = 0 THEN RAISE EXCEPTION 'undo'; END IF;"
    " EXCEPTION WHEN raise_exception THEN DELETE FROM item WHERE id = {b}; END $$",
]
# A row whose name is set to 'again' is changed once more by the trigger, whose image is captured first.
AGAIN = """
    CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.name = 'again' THEN
        UPDATE item SET name = 'changed again' WHERE id = NEW.id;
      END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER a_again AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION again();
"""


def write_at_random(session: psycopg.Connection, seed: str) -> None:
    dice = random.Random(seed)
    for number in range(TRANSACTIONS):
        session.execute("BEGIN")
        savepoints: list[str] = []
        for _ in range(dice.randint(1, 8)):
            step = dice.random()
            if step < 0.2:
                savepoints.append(f"s{dice.randint(1, 3)}")
                session.execute(f"SAVEPOINT {savepoints[-1]}")
            elif step < 0.35 and savepoints:
                name = dice.choice(savepoints)
                del savepoints[len(savepoints) - savepoints[::-1].index(name) :]
                session.execute(f"ROLLBACK TO {name}")
            elif step < 0.45 and savepoints:
                name = dice.choice(savepoints)
                del savepoints[len(savepoints) - 1 - savepoints[::-1].index(name) :]
                session.execute(f"RELEASE {name}")
            else:
                statement = dice.choice(STATEMENTS).format(a=dice.randint(1, ROWS), b=dice.randint(1, ROWS), n=dice.randint(0, 99))
                session.execute("SAVEPOINT statement")
                try:
                    session.execute(statement)
                except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                    session.execute("ROLLBACK TO statement")
                session.execute("RELEASE statement")
        end = dice.random()
        if end < 0.2:
            session.execute("ROLLBACK")
        elif end < 0.3:
            session.execute(f"PREPARE TRANSACTION '{seed} {number}'")
            session.execute(f"{dice.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{seed} {number}'")
        else:
            session.execute("COMMIT")


def test_many_sessions_at_random_leave_a_history_of_each_row_without_a_gap(databases: Databases) -> None:
    seed = os.environ.get("APEX_TEST_SEED") or secrets.token_hex(4)
    print(f"APEX_TEST_SEED={seed}")
    reader = databases.make(ITEM, AGAIN, ATTACH)
    with contextlib.ExitStack() as stack:
        threads = []
        failures: list[BaseException] = []

        def run(session: psycopg.Connection, own_seed: str) -> None:
            try:
                write_at_random(session, own_seed)
            except BaseException as failed:  # noqa: BLE001
                failures.append(failed)

        for number in range(SESSIONS):
            session = stack.enter_context(databases.cluster.connect(reader.info.dbname))
            session.execute("SET deadlock_timeout = '10ms'; SET lock_timeout = '1s'")
            threads.append(threading.Thread(target=run, args=[session, f"{seed}-{number}"]))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
    reader.row_factory = namedtuple_row
    history = reader.execute("""
        SELECT key, op, coalesce(before, 'null') AS before, coalesce(after, 'null') AS after,
               max(seq) OVER (PARTITION BY xid, key) AS version, command, seq FROM apex.outbox""").fetchall()
    assert len(history) > TRANSACTIONS
    # A row's transactions come one after the other by their highest seq, the events inside one by command.
    held: dict[int, object] = {}
    for event in sorted(history, key=lambda each: (each.version, each.command, each.seq)):
        (key,) = event.key
        assert event.before == held.get(key), (event, held.get(key))
        held[key] = event.after
    rows = reader.execute("SELECT id, to_jsonb(item) AS image FROM item").fetchall()
    assert {row.id: row.image for row in rows} == {key: image for key, image in held.items() if image is not None}
