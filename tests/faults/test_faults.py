"""An ERROR at every server function that the extension calls in a transaction, one after the other.

Needs an installation that tools/matrix/faults.sh has prepared, named by PG_CONFIG. Each transaction is either made
as a whole, its event with it, or not at all; the server never panics; nothing that could raise is called once the
transaction is over.
"""

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from stores import Postgres, runtime_directory

# Each statement list is one transaction. Rows of `notes` and of the outbox have to agree after it.
TRANSACTIONS = {
    "insert": ["INSERT INTO notes (title, tags, body, embedding) VALUES ('a', '{x,NULL}', '{\"k\": [1.5, null]}', '{1,2,3}')"],
    "update": ["UPDATE notes SET title = title || '+', amount = 1.25, at = now() WHERE id = 1"],
    "delete": ["DELETE FROM notes WHERE id = (SELECT max(id) FROM notes)"],
    "key": ["UPDATE notes SET id = nextval('notes_id_seq') WHERE id = (SELECT max(id) FROM notes)"],
    "many": ["INSERT INTO notes (title) SELECT n FROM generate_series(1, 3) AS n"],
    "savepoint": [
        "INSERT INTO notes (title) VALUES ('kept')",
        "SAVEPOINT s",
        "INSERT INTO notes (title) VALUES ('gone')",
        "ROLLBACK TO s",
        "INSERT INTO notes (title) VALUES ('kept as well')",
    ],
    "unencodable": ["INSERT INTO notes (title, embedding) VALUES ('nan', '{NaN,1,2}')"],
    # After the second one COMMIT finds nothing to do, and says so.
    "two-phase": ["INSERT INTO notes (title) VALUES ('a')", "PREPARE TRANSACTION 'fault'", "COMMIT PREPARED 'fault'"],
    "deferred": ["INSERT INTO deferred (title) VALUES ('a')"],
    "refresh": ["SELECT apex.refresh('notes', '1')"],
    "arm": ["SELECT apex.arm()", "INSERT INTO notes (title) VALUES ('a')"],
}

SCHEMA = """
CREATE EXTENSION apex_saga;
CREATE FUNCTION apex_faults_start(int) RETURNS void LANGUAGE c STRICT AS '$libdir/apex_saga';
CREATE FUNCTION apex_faults_stop() RETURNS int LANGUAGE c AS '$libdir/apex_saga';
CREATE FUNCTION apex_faults_late() RETURNS text LANGUAGE c AS '$libdir/apex_saga';
CREATE TABLE notes (id serial PRIMARY KEY, title text, tags text[], body jsonb, amount numeric, at timestamptz, embedding real[]);
SELECT apex.attach('notes', graph => apex.graph(label => 'Note', properties => ARRAY['title', 'tags', 'body', 'amount', 'at']),
                   vector => apex.vector(collection => 'notes', embedding => 'embedding', dimensions => 3));
-- Writes an attached row while the transaction commits.
CREATE TABLE deferred (title text);
CREATE FUNCTION write_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notes (title) VALUES (NEW.title);
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER write_note AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION write_note();
INSERT INTO notes (title) VALUES ('first'), ('second');
"""


class Server:
    def __init__(self, cluster: Postgres) -> None:
        self.cluster = cluster
        self.observer = cluster.connect()

    def facts(self) -> tuple[int, int]:
        """The rows of the table, and those of the outbox. A server that panicked has ended this session."""
        return self.observer.execute("SELECT (SELECT count(*) FROM notes), (SELECT count(*) FROM apex.outbox)").fetchone()


def serve(preload: bool) -> Iterator[Server]:
    directory = runtime_directory("faults") / ("preloaded" if preload else "plain")
    Postgres(directory).remove()
    cluster = Postgres(directory, preload=preload)
    cluster.start()
    try:
        with cluster.connect() as session:
            session.execute(SCHEMA)
        yield Server(cluster)
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def preloaded() -> Iterator[Server]:
    yield from serve(True)


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    yield from serve(False)


def attempt(session: psycopg.Connection, statements: list[str], raise_at: int) -> tuple[int, str | None]:
    """Runs one transaction; returns the number of calls and the error, None when it was committed."""
    error = None
    session.execute("SELECT apex_faults_start(%s)", [raise_at])
    try:
        for statement in ["BEGIN", *statements, "COMMIT"]:
            session.execute(statement)
    except psycopg.DatabaseError as raised:
        if session.broken:
            pytest.fail(f"call {raise_at} ended the session: {raised}")
        error = str(raised)
        session.execute("ROLLBACK")
    calls = session.execute("SELECT apex_faults_stop()").fetchone()[0]
    assert session.execute("SELECT apex_faults_late()").fetchone()[0] is None
    return calls, error


def raise_everywhere(server: Server, statements: list[str], warm: bool) -> None:
    if warm:
        session = server.cluster.connect()
        attempt(session, statements, 0)
    raised = 0
    for raise_at in itertools.count(1):
        before = server.facts()
        if not warm:
            session = server.cluster.connect()
        calls, error = attempt(session, statements, raise_at)
        after = server.facts()
        if error is None:
            assert after[1] > before[1], "committed, but not captured"
        else:
            raised += 1
            assert error.startswith("fault in "), error
            assert after == before
        # The session is as good as before: what it remembered of the failed attempt does no harm.
        _, error = attempt(session, statements, 0)
        assert error is None
        if not warm:
            session.close()
        if calls < raise_at:
            break  # There are no more.
    assert raised > 10
    assert "PANIC" not in server.cluster.log_text() and "TRAP" not in server.cluster.log_text()


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_an_error_anywhere_aborts_the_transaction_and_leaves_the_session_well(preloaded: Server, name: str) -> None:
    raise_everywhere(preloaded, TRANSACTIONS[name], warm=True)


@pytest.mark.parametrize("name", ["insert", "deferred", "arm"])
def test_an_error_anywhere_in_a_session_s_first_transaction_leaves_it_well(preloaded: Server, name: str) -> None:
    raise_everywhere(preloaded, TRANSACTIONS[name], warm=False)


@pytest.mark.parametrize("name", ["insert", "arm"])
def test_a_session_that_has_to_find_its_shared_memory_survives_every_error(plain: Server, name: str) -> None:
    raise_everywhere(plain, TRANSACTIONS[name], warm=False)
