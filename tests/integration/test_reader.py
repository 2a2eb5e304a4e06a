"""The reader's rule on a real server: every committed event is delivered once, in row order, whatever commits when.

These tests speak to the extension as the sidecar does, without the sidecar: `Reader` makes the calls of the contract.
"""

import collections
import contextlib
import itertools
import json
import os
import random
import secrets
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from reader import Reader

from stores import SIDECAR_ROLE, Postgres, runtime_directory

Sessions = Callable[[], psycopg.Connection]

LOOKAHEAD = 8192
DOCUMENTS = """
    CREATE TABLE documents (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);
    SELECT apex.attach('documents', cache => apex.cache('document', columns => ARRAY['id', 'n', 'note']));
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    server = Postgres(runtime_directory("reader") / str(os.getpid()))
    server.start()
    with server.connect() as admin:
        admin.execute("CREATE DATABASE documents_attached")
    with server.connect("documents_attached") as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute(DOCUMENTS)
    yield server
    server.remove()


@pytest.fixture
def dsn(cluster: Postgres) -> Iterator[str]:
    database = f"reader_{secrets.token_hex(4)}"
    with cluster.connect() as admin:
        admin.execute(f"CREATE DATABASE {database} TEMPLATE documents_attached")
        yield cluster.dsn_of(database)
        admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def sessions(dsn: str) -> Iterator[Sessions]:
    """Makes sessions that are in a transaction from their first statement on."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(psycopg.connect(dsn)))


@pytest.fixture
def reader(dsn: str) -> Iterator[Reader]:
    made = Reader(dsn)
    made.lead()
    yield made
    made.pg.close()


def keys(events: list) -> list[int]:
    return [event.key[0] for event in events]


# ---- Who sees what ----


def later_xid_with_an_earlier_seq(sessions: Sessions, between: Callable[[], object]) -> None:
    """The first transaction draws its seq last and commits first. `between` runs when only it has committed."""
    first, second = sessions(), sessions()
    first.execute("SELECT pg_current_xact_id()")
    # More than a block, so that versions are drawn before the commit.
    second.execute("INSERT INTO documents SELECT generate_series(1001, 1070)")
    first.execute("INSERT INTO documents VALUES (1)")
    first.commit()
    between()
    second.commit()


def test_a_later_xid_with_an_earlier_seq_that_commits_last_is_delivered(sessions: Sessions, reader: Reader) -> None:
    early = []
    later_xid_with_an_earlier_seq(sessions, lambda: early.extend(reader.batch()))
    late = reader.batch()
    assert keys(early) == [1]
    assert keys(late) == [*range(1001, 1071)]
    assert late[0].seq < early[0].seq
    assert late[0].xid > early[0].xid


def test_the_snapshots_xmax_in_place_of_the_ceiling_would_lose_it(sessions: Sessions, dsn: str) -> None:
    """Why the rule has a ceiling: the same history read by the rule without one."""
    pg = psycopg.connect(dsn, autocommit=True)
    a = pg.execute("SELECT pg_current_snapshot()::text").fetchone()[0]
    position = 0

    def batch() -> list[int]:
        nonlocal a, position
        statement = """
            WITH b AS MATERIALIZED (SELECT pg_current_snapshot() AS b)
            SELECT b.b::text, o.seq, o.key FROM b LEFT JOIN apex.outbox o
              ON pg_visible_in_snapshot(o.xid, b.b)
             AND ((o.xid >= pg_snapshot_xmax(%(a)s) AND o.seq > %(position)s)
                  OR o.xid IN (SELECT pg_snapshot_xip(%(a)s)))
            ORDER BY o.seq"""
        rows = pg.execute(statement, {"a": a, "position": position}).fetchall()
        a = rows[0][0]
        found = [row for row in rows if row[1] is not None]
        position = max([position] + [row[1] for row in found])
        return [row[2][0] for row in found]

    early = []
    later_xid_with_an_earlier_seq(sessions, lambda: early.extend(batch()))
    assert early == [1]
    assert len(batch()) < 70
    pg.close()


def test_a_transaction_open_since_before_many_batches_is_delivered_when_it_commits(sessions: Sessions, reader: Reader) -> None:
    long, other = sessions(), sessions()
    long.execute("INSERT INTO documents VALUES (1)")
    for number in range(2, 6):
        other.execute("INSERT INTO documents VALUES (%s)", [number])
        other.commit()
        assert keys(reader.batch()) == [number]
    long.execute("INSERT INTO documents VALUES (6)")
    long.commit()
    assert keys(reader.batch()) == [1, 6]
    assert reader.batch() == []


def test_a_prepared_transaction_is_delivered_when_it_commits(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("BEGIN")
        pg.execute("INSERT INTO documents VALUES (1)")
        pg.execute("PREPARE TRANSACTION 'held'")
        pg.execute("INSERT INTO documents VALUES (2)")
        assert keys(reader.batch()) == [2]
        pg.execute("COMMIT PREPARED 'held'")
    assert keys(reader.batch()) == [1]


def test_what_rolls_back_is_never_delivered(sessions: Sessions, reader: Reader) -> None:
    writer = sessions()
    writer.execute("INSERT INTO documents VALUES (1)")
    assert reader.batch() == []
    writer.execute("SAVEPOINT s")
    writer.execute("INSERT INTO documents VALUES (2)")
    writer.execute("ROLLBACK TO s")
    writer.execute("INSERT INTO documents VALUES (3)")
    writer.commit()
    assert keys(reader.batch()) == [1, 3]


def test_a_straggler_of_many_events_is_read_in_pieces_and_in_order(sessions: Sessions, reader: Reader) -> None:
    long, other = sessions(), sessions()
    long.execute("INSERT INTO documents SELECT generate_series(1, 1000)")
    other.execute("INSERT INTO documents VALUES (5000)")
    other.commit()
    assert keys(reader.batch()) == [5000]
    long.execute("INSERT INTO documents SELECT generate_series(1001, 2000)")
    other.execute("INSERT INTO documents VALUES (5001)")
    other.commit()
    long.commit()
    events = keys(reader.batch(rows_max=300))
    assert [key for key in events if key < 5000] == [*range(1, 2001)]
    assert events.count(5001) == 1 and len(events) == 2001


def test_a_trigger_that_updates_its_own_row_leaves_the_order_of_commands(dsn: str, reader: Reader) -> None:
    """Its update is captured before the insert that set it off; (command, seq) tells which came first."""
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("""
            CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
              'BEGIN UPDATE documents SET n = n + 1 WHERE id = NEW.id; RETURN NULL; END';
            CREATE TRIGGER a_first AFTER INSERT ON documents FOR EACH ROW EXECUTE FUNCTION count_up()""")
        pg.execute("INSERT INTO documents (id) VALUES (1)")
    events = reader.batch()
    assert [event.op for event in events] == ["U", "I"]
    by_command = sorted(events, key=lambda event: (event.command, event.seq))
    assert [event.op for event in by_command] == ["I", "U"]
    assert by_command[-1].after["n"] == 1
    assert by_command[-1].before == by_command[0].after


def test_what_the_transaction_of_attach_writes_is_delivered(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg, psycopg.connect(dsn) as running:
        # Writes to the new table after the attach, with an older transaction.
        running.execute("SELECT pg_current_xact_id()")
        with pg.transaction():
            pg.execute("INSERT INTO documents VALUES (1)")
            pg.execute("CREATE TABLE notes (id int PRIMARY KEY)")
            pg.execute("SELECT apex.attach('notes', cache => apex.cache('note'), pipeline => 'second')")
            pg.execute("INSERT INTO notes VALUES (1)")
        running.execute("INSERT INTO notes VALUES (2)")
        running.commit()
        reader = Reader(dsn, pipeline="second")
        reader.lead()
        assert keys(reader.batch()) == [1, 2]
        reader.pg.close()


def test_a_pipeline_reads_its_own_tables_only(dsn: str, reader: Reader) -> None:
    second = Reader(dsn, pipeline="second")
    second.lead()
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("CREATE TABLE notes (id int PRIMARY KEY)")
        pg.execute("SELECT apex.attach('notes', cache => apex.cache('note'), pipeline => 'second')")
        pg.execute("INSERT INTO notes VALUES (1)")
        pg.execute("INSERT INTO documents VALUES (2)")
    assert keys(reader.batch()) == [2]
    assert keys(second.batch()) == [1]
    second.pg.close()


def test_an_idle_cursor_follows_when_other_pipelines_are_busy(dsn: str, reader: Reader) -> None:
    idle = Reader(dsn, pipeline="idle")
    idle.lead()
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT generate_series(1, 70000)")
        drawn = pg.execute("SELECT last_value FROM apex.outbox_seq").fetchone()[0]
    assert idle.batch() == []
    assert idle.cursor().position == drawn
    idle.pg.close()


# ---- Many writers ----


def write_at_random(dsn: str, seed: int, transactions: int) -> None:
    """Small transactions on few rows: updates, deletes, savepoints, rollbacks, pauses inside and outside."""
    rnd = random.Random(seed)
    with psycopg.connect(dsn, autocommit=True) as pg:
        for _ in range(transactions):
            # In id order, so that the writers wait for each other but never in a circle.
            rows = sorted(rnd.sample(range(40), rnd.randint(1, 4)))
            with contextlib.suppress(psycopg.Rollback), pg.transaction() as outer:
                if rnd.random() < 0.3:
                    pg.execute("SELECT pg_current_xact_id()")
                for row in rows:
                    with contextlib.suppress(psycopg.Rollback), pg.transaction() as inner:
                        if rnd.random() < 0.2:
                            pg.execute("DELETE FROM documents WHERE id = %s", [row])
                        else:
                            upsert = "INSERT INTO documents VALUES (%s) ON CONFLICT (id) DO UPDATE SET n = documents.n + 1"
                            pg.execute(upsert, [row])
                        if rnd.random() < 0.1:
                            raise psycopg.Rollback(inner)
                    if rnd.random() < 0.1:
                        pg.execute("SELECT pg_sleep(0.001)")
                if rnd.random() < 0.15:
                    raise psycopg.Rollback(outer)


def test_many_writers_every_committed_event_is_delivered_once_and_in_row_order(dsn: str) -> None:
    seed = int(os.environ.get("APEX_TEST_SEED", secrets.randbelow(1 << 32)))
    print(f"APEX_TEST_SEED={seed}")
    rnd = random.Random(seed)
    reader = Reader(dsn)
    reader.lead()
    writers = [threading.Thread(target=write_at_random, args=(dsn, seed + number, 250)) for number in range(10)]
    for writer in writers:
        writer.start()
    delivered = []
    while any(writer.is_alive() for writer in writers):
        read = rnd.choice([reader.batch, reader.batches])
        delivered += read(rows_max=rnd.choice([3, 20, 4000]))
    for writer in writers:
        writer.join()
    delivered += reader.batch()

    with psycopg.connect(dsn) as pg:
        committed = {seq for (seq,) in pg.execute("SELECT seq FROM apex.outbox")}
    counts = collections.Counter(event.seq for event in delivered)
    assert set(counts) == committed, f"seed {seed}"
    assert max(counts.values()) == 1, f"seed {seed}"
    last = collections.defaultdict(int)
    for event in delivered:
        assert event.seq > last[event.key[0]], f"seed {seed}: row {event.key}"
        last[event.key[0]] = event.seq
    reader.pg.close()


def test_many_writers_and_leaders_that_die_nothing_is_skipped(dsn: str) -> None:
    """What a dead leader had handed out but not settled comes again, as one window, before anything new."""
    seed = int(os.environ.get("APEX_TEST_SEED", secrets.randbelow(1 << 32)))
    print(f"APEX_TEST_SEED={seed}")
    rnd = random.Random(seed)
    writers = [threading.Thread(target=write_at_random, args=(dsn, seed + number, 150)) for number in range(8)]
    for writer in writers:
        writer.start()
    settled, handed_out = set(), set()
    while any(writer.is_alive() for writer in writers):
        reader = Reader(dsn)
        led = reader.lead()
        if led.handed_out is not None:
            window = reader.read(upto=led.handed_out)
            assert handed_out - settled <= {event.seq for event in window} | settled, f"seed {seed}"
            handed_out |= {event.seq for event in window}
            reader.after = led.handed_out
        for _ in range(rnd.randint(1, 6)):
            piece = reader.read(rows_max := rnd.choice([2, 10, 100]))
            handed_out |= {event.seq for event in piece}
            if piece:
                reader.after = piece[: rows_max][-1].seq
            if len(piece) < rows_max and reader.after and rnd.random() < 0.7:
                reader.checkpoint(reader.after, close=True)
                settled |= handed_out
            elif rnd.random() < 0.5 and reader.after:
                reader.checkpoint(reader.after)
                settled |= {seq for seq in handed_out if seq <= reader.after}
        reader.pg.close()
    for writer in writers:
        writer.join()

    reader = Reader(dsn)
    led = reader.lead()
    handed_out |= {event.seq for event in reader.batch()}
    handed_out |= {event.seq for event in reader.batch()}
    reader.pg.close()
    with psycopg.connect(dsn) as pg:
        assert handed_out == {seq for (seq,) in pg.execute("SELECT seq FROM apex.outbox")}, f"seed {seed}"


# ---- Pieces ----


def test_a_piece_brings_the_rest_of_its_sagas(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg, pg.transaction():
        pg.execute("INSERT INTO documents SELECT generate_series(1, 10)")
        pg.execute("UPDATE documents SET n = 1 WHERE id <= 3")
    first = reader.read(rows_max=4)
    assert keys(first) == [1, 2, 3, 4, 1, 2, 3]
    assert reader.cursor().handed_out == first[3].seq
    reader.after = first[3].seq
    assert keys(reader.read(rows_max=4)) == [5, 6, 7, 8]


def test_a_saga_longer_than_the_lookahead_is_split(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg, pg.transaction():
        pg.execute("INSERT INTO documents VALUES (1)")
        pg.execute("INSERT INTO documents SELECT generate_series(2, %s)", [LOOKAHEAD - 1])
        pg.execute("UPDATE documents SET n = 1 WHERE id = 1")  # The last event of a full block.
        pg.execute("UPDATE documents SET n = 2 WHERE id = 1")
    assert [event.after["n"] for event in reader.read(rows_max=1)] == [0, 1]


def test_a_piece_ends_with_the_row_whose_images_pass_the_bytes_it_may_have(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT n, 0, repeat('x', CASE WHEN n IN (3, 4) THEN 500000 ELSE 10 END) FROM generate_series(1, 6) n")
    first = reader.read(bytes_max=100000)
    assert (keys(first), first[0].batch_end) == ([1, 2, 3], False)
    assert first[0].through_seq == first[-1].seq == reader.cursor().handed_out
    reader.after = first[-1].seq
    second = reader.read(bytes_max=100000)
    assert (keys(second), second[0].batch_end) == ([4], False), "one row is never too large"
    reader.after = second[-1].seq
    third = reader.read(bytes_max=100000)
    assert (keys(third), third[0].batch_end) == ([5, 6], True)


def test_what_is_read_ahead_with_its_saga_is_bounded_in_bytes_too(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg, pg.transaction():
        pg.execute("INSERT INTO documents SELECT generate_series(1, 3)")
        for letter in "abcd":
            pg.execute("UPDATE documents SET note = repeat(%s, 50000) WHERE id = 1", [letter])
    # The second update holds two such notes.
    piece = reader.read(rows_max=1, bytes_max=160000)
    assert keys(piece) == [1, 1, 1]
    assert piece[0].through_seq == piece[0].seq


def test_the_window_is_handed_out_whole_whatever_its_bytes(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT n, 0, repeat('x', 1000) FROM generate_series(1, 6) n")
    reader.read(rows_max=5)
    assert keys(reader.read(upto=reader.cursor().handed_out, bytes_max=1)) == [1, 2, 3, 4, 5]


# ---- The batch behind the open one ----


def test_the_next_batch_is_read_while_one_is_open_and_opened_when_that_is_closed(sessions: Sessions, dsn: str, reader: Reader) -> None:
    long = sessions()
    long.execute("INSERT INTO documents SELECT generate_series(1001, 1070)")
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents VALUES (1)")
        first = reader.read()
        pg.execute("INSERT INTO documents VALUES (2), (3), (4)")
        long.commit()
        before = reader.cursor()
        end = reader.next_batch(rows_min=3)
        ahead = reader.read_ahead(end, rows_max=71)
        # The straggler's first block has versions below any of the open batch, its last one the highest of all.
        assert keys(ahead) == [*range(1001, 1065), 2, 3, 4, *range(1065, 1069)]
        assert ahead[0].seq < first[0].seq
        assert reader.cursor() == before, "nothing is recorded"
        pg.execute("INSERT INTO documents VALUES (5)")
        reader.open_batch(first[-1].seq, end, ahead[0].through_seq)
        assert reader.cursor().handed_out == ahead[-1].seq
        assert keys(reader.read()) == [1069, 1070]
        successor = Reader(dsn)
        assert len(successor.read(upto=successor.lead().handed_out)) == 73
        successor.pg.close()


def test_no_batch_is_read_ahead_for_a_few_events_or_behind_none(dsn: str, reader: Reader) -> None:
    assert reader.next_batch() is None
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents VALUES (1)")
        reader.read()
        assert reader.next_batch() is None
        pg.execute("INSERT INTO documents VALUES (2), (3)")
        assert reader.next_batch(rows_min=3) is None
        assert reader.next_batch(rows_min=2) is not None


def test_a_batch_cannot_be_opened_while_another_is(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents VALUES (1)")
        reader.read()
        pg.execute("INSERT INTO documents VALUES (2)")
    end = reader.next_batch()
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        reader.pg.execute("SELECT apex.open_batch('default', %s, %s, %s, %s, 1)", [reader.epoch, *end])


# ---- What is committed and not read yet ----


def test_peeking_finds_what_is_committed_behind_the_open_batch_and_records_nothing(sessions: Sessions, dsn: str, reader: Reader) -> None:
    long = sessions()
    long.execute("INSERT INTO documents VALUES (1001)")
    with psycopg.connect(dsn, autocommit=True) as pg:
        assert reader.peek_bounds() is None, "no batch is open"
        pg.execute("INSERT INTO documents VALUES (1), (2), (3)")
        first = reader.read(rows_max=1)
        pg.execute("INSERT INTO documents VALUES (4)")
        long.commit()
        before = reader.cursor()
        with reader.pg.transaction():
            begin, end, now = reader.peek_bounds()
            assert keys(reader.peek(begin, end, after=first[0].through_seq)) == [2, 3]
            assert keys(reader.peek(end, now)) == [4, 1001], "the straggler too"
            piece = reader.peek(end, now, rows_max=1)
            assert (keys(piece), piece[0].batch_end) == ([4], False)
            assert keys(reader.peek(end, now, after=piece[0].through_seq)) == [1001]
            assert reader.pg.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()[0] is None
        assert reader.cursor() == before
        pg.execute("UPDATE documents SET n = 1 WHERE id = 4")
        _, _, later = reader.peek_bounds()
        assert [event.op for event in reader.peek(now, later)] == ["U"], "from where the last look ended"


def test_there_is_nothing_to_peek_at_where_no_table_has_a_cache(dsn: str, reader: Reader) -> None:
    graphs = Reader(dsn, pipeline="graphs")
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("CREATE TABLE nodes (id int PRIMARY KEY)")
        pg.execute("SELECT apex.attach('nodes', graph => apex.graph('Node'), pipeline => 'graphs')")
        pg.execute("INSERT INTO nodes VALUES (1)")
    graphs.lead()
    assert keys(graphs.read()) == [1]
    assert graphs.peek_bounds() is None
    graphs.pg.close()


def test_reading_nothing_writes_nothing(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents VALUES (1)")
    reader.batch()
    with reader.pg.transaction():
        assert reader.read() == []
        assert reader.pg.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()[0] is None


def test_what_commits_after_a_batch_was_opened_belongs_to_the_next(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT generate_series(1, 4)")
        first = reader.read(rows_max=3)
        pg.execute("INSERT INTO documents VALUES (5)")
    reader.after = first[-1].seq
    second = reader.read()
    assert keys(second) == [4]
    reader.checkpoint(second[-1].seq, close=True)
    assert keys(reader.batch()) == [5]


def test_a_batch_that_is_not_settled_cannot_be_closed(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT generate_series(1, 4)")
    last = reader.read()[-1].seq
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        reader.checkpoint(last - 1, close=True)
    reader.checkpoint(last, close=True)
    reader.checkpoint(last, close=True)


# ---- Leadership ----


def test_the_sidecars_role_can_do_its_work_with_its_grant_alone(cluster: Postgres, dsn: str) -> None:
    database = dsn.rpartition("/")[2]
    stranger = Reader(cluster.sidecar_dsn_of(database))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stranger.lead()
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("SELECT apex.grant_sidecar(%s)", [SIDECAR_ROLE])
        stranger.lead()
        pg.execute("INSERT INTO documents VALUES (1)")
    assert keys(stranger.batch()) == [1]
    assert stranger.pg.execute("SELECT apex.heartbeat('default', %s)", [stranger.epoch]).fetchone()[0]
    for read in ("SELECT * FROM apex.mapping", "SELECT * FROM apex.saga", "SELECT * FROM apex.saga_row",
                 "SELECT * FROM apex.undo_rows('00000000-0000-7000-8000-000000000000')"):
        stranger.pg.execute(read)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stranger.pg.execute("UPDATE apex.pipeline SET epoch = 0")
    stranger.pg.close()


def test_a_second_leader_waits_until_the_first_is_late(dsn: str, reader: Reader) -> None:
    second = Reader(dsn, name="second")
    assert second.lead() is None
    reader.pg.execute("UPDATE apex.pipeline SET heartbeat = heartbeat - interval '1 hour'")
    assert second.lead().epoch == reader.epoch + 1
    second.pg.close()


def test_a_leader_that_resigns_is_replaced_at_once(dsn: str, reader: Reader) -> None:
    second = Reader(dsn, name="second")
    reader.pg.execute("SELECT apex.resign('default', %s)", [reader.epoch])
    assert second.lead().epoch == reader.epoch + 1
    second.pg.close()


def test_a_replaced_leaders_session_is_ended(dsn: str, reader: Reader) -> None:
    second = Reader(dsn, name="reader")
    second.lead()
    with pytest.raises(psycopg.OperationalError):
        for _ in itertools.repeat(None):
            reader.pg.execute("SELECT 1")
    second.pg.close()


@pytest.mark.parametrize(
    "call",
    [
        "SELECT * FROM apex.read_piece('default', %s, 0, 10)",
        "SELECT apex.next_batch('default', %s, 1)",
        "SELECT apex.peek_bounds('default', %s)",
        "SELECT * FROM apex.read_ahead('default', %s, '1:1:', '1', 0, 10, NULL)",
        "SELECT apex.open_batch('default', %s, '1:1:', '1', 0, 0)",
        "SELECT apex.checkpoint('default', %s, 0, '[]', false)",
        "SELECT * FROM apex.record_failure('default', %s, '{}')",
        "SELECT apex.settle_failure('default', %s, '00000000-0000-7000-8000-000000000000', 'parked')",
    ],
)
def test_a_replaced_leader_is_refused_everything(reader: Reader, call: str) -> None:
    with pytest.raises(psycopg.errors.Error) as refused:
        reader.pg.execute(call, [reader.epoch - 1])
    assert refused.value.sqlstate == "AX001"
    assert not reader.pg.execute("SELECT apex.heartbeat('default', %s)", [reader.epoch - 1]).fetchone()[0]


def test_the_window_of_a_dead_leader_is_what_it_may_have_written(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        with pg.transaction():
            pg.execute("INSERT INTO documents SELECT generate_series(1, 10)")
            pg.execute("UPDATE documents SET n = 1 WHERE id = 6")
    # The ends of two pieces inside one block.
    ends = []
    for _ in range(2):
        reader.after = reader.read(rows_max=4)[3].seq
        ends.append(reader.after)
    reader.checkpoint(ends[0])
    successor = Reader(dsn)
    led = successor.lead()
    assert (led.settled, led.handed_out) == tuple(ends)
    assert keys(successor.read(rows_max=1, upto=led.handed_out)) == [5, 6, 7, 8, 6]
    # However often it dies there, the window does not grow.
    assert successor.lead().handed_out == ends[1]
    successor.pg.close()


def test_a_long_transaction_elsewhere_does_not_slow_the_cursor_down(sessions: Sessions, reader: Reader) -> None:
    """It keeps every version of the pipeline's row, and yet a call touches few pages."""
    long = sessions()
    long.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    long.execute("SELECT count(*) FROM documents")

    def pages_touched() -> int:
        call = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT apex.heartbeat('default', %s)"
        return reader.pg.execute(call, [reader.epoch]).fetchone()[0][0]["Plan"]["Shared Hit Blocks"]

    # The least of some: now and then one fills a cache or finds its page full.
    before = min(pages_touched() for _ in range(10))
    for _ in range(3000):
        reader.pg.execute("SELECT apex.heartbeat('default', %s)", [reader.epoch])
    after = min(pages_touched() for _ in range(10))
    assert after < before + 20, f"{before} pages before, {after} after"


def test_heartbeats_do_not_get_in_the_way_of_reading(dsn: str, reader: Reader) -> None:
    """Both update the same row from two sessions: neither loses the other's update or fails."""
    over = threading.Event()

    def beat() -> None:
        with psycopg.connect(dsn, autocommit=True) as pg:
            while not over.is_set():
                assert pg.execute("SELECT apex.heartbeat('default', %s)", [reader.epoch]).fetchone()[0]

    beating = threading.Thread(target=beat)
    beating.start()
    with psycopg.connect(dsn, autocommit=True) as pg:
        for number in range(300):
            pg.execute("INSERT INTO documents VALUES (%s)", [number])
            assert keys(reader.batch()) == [number]
    over.set()
    beating.join()


# ---- Failed sagas ----


def test_a_saga_of_very_many_rows_is_written_down_in_time(dsn: str, reader: Reader) -> None:
    """It takes a second or two. The square of the rows would be minutes, and the leader would never get past it."""
    count = 20_000
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT generate_series(1, %s)", [count])
    events = reader.read(rows_max=count + 1)
    saga = {
        "id": str(uuid.uuid4()), "relation": events[0].relation, "key": events[0].key, "xids": [str(events[0].xid)],
        "steps": ["write_redis"], "failed_step": "write_redis", "error_type": "refused", "native_code": "", "error": "no",
        "traceparent": "", "events": [event.seq for event in events],
        "rows": [
            {
                "relation": event.relation, "key": event.key, "mapping": event.mapping, "carried_forward": False,
                "failed_seq": event.seq, "first_seq": event.seq, "oldest_seq": event.seq,
            }
            for event in events
        ],
    }  # fmt: skip
    reader.pg.execute("SET statement_timeout = '60s'")
    undo = reader.pg.execute("SELECT * FROM apex.record_failure('default', %s, %s)", [reader.epoch, json.dumps(saga)]).fetchall()
    assert [row.key for row in undo] == [event.key for event in events]
    assert all(len(row.images) == 1 for row in undo)


# ---- Another history ----


def test_another_timeline_lifts_versions_and_epoch_and_keeps_the_cursor(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents VALUES (1)")
        reader.batch()
        pg.execute("INSERT INTO documents VALUES (2)")
        pg.execute("UPDATE apex.pipeline SET timeline = timeline + 1")
        led = reader.lead()
        assert led.another_history
        pg.execute("INSERT INTO documents VALUES (3)")
    assert led.epoch > 1_000_000
    events = reader.batch()
    assert keys(events) == [2, 3]
    assert events[1].seq > events[0].seq + (1 << 40) - 1
    assert not reader.lead().another_history


def test_another_cluster_starts_before_everything_the_outbox_holds(dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents VALUES (1)")
        reader.batch()
        pg.execute("INSERT INTO documents VALUES (2)")
        reader.read()
        pg.execute("UPDATE apex.pipeline SET system_identifier = 1")
        led = reader.lead()
        assert (led.another_history, led.handed_out) == (True, None)
        pg.execute("INSERT INTO documents VALUES (3)")
    assert keys(reader.batch()) == [1, 2, 3]


def test_a_restored_dump_is_another_history_with_higher_versions_and_epochs(cluster: Postgres, dsn: str, reader: Reader) -> None:
    with psycopg.connect(dsn, autocommit=True) as pg:
        pg.execute("INSERT INTO documents SELECT generate_series(1, 100)")
        reader.batch()
    dump = subprocess.run(["pg_dump", dsn], capture_output=True, check=True).stdout
    copy = f"reader_{secrets.token_hex(4)}"
    with cluster.connect() as admin:
        admin.execute(f"CREATE DATABASE {copy}")
        restored = ["psql", "-q", "-v", "ON_ERROR_STOP=1", cluster.dsn_of(copy)]
        subprocess.run(restored, input=dump, capture_output=True, check=True)
        successor = Reader(cluster.dsn_of(copy), name="elsewhere")
        successor.pg.execute("UPDATE apex.pipeline SET heartbeat = '-infinity'")
        led = successor.lead()
        assert led.another_history
        assert led.epoch > reader.epoch
        assert successor.batch() == []
        successor.pg.execute("INSERT INTO documents VALUES (101)")
        assert successor.batch()[0].seq > 100 + (1 << 40)
        successor.pg.close()
        admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")
