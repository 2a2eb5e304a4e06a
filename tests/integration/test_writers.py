"""Writers never wait for a store, the sidecar or one another (G5), and what is rolled back is nowhere (G6)."""

import os
import random
import threading
from collections.abc import Iterator

import library
import psycopg
import pytest
from gated import Gated
from world import World, wait_until

# What the tests hold, they hold for longer than this: a writer that waited for it would fail.
PATIENCE = "SET lock_timeout = '10s'; SET statement_timeout = '30s'"
WRITERS = 8
TRANSACTIONS = 60


@pytest.fixture
def shelf(world: World) -> World:
    library.create(world)
    fill(world)
    world.wait_synced()
    return world


def fill(world: World) -> None:
    world.pg.execute("""
        INSERT INTO authors (name) VALUES ('Ann'), ('Bob');
        INSERT INTO documents (title, author_id, embedding)
          SELECT 'about ' || n, (SELECT id FROM authors ORDER BY name LIMIT 1), ARRAY[n, 1, 0, 0] FROM generate_series(1, 5) n;
        INSERT INTO chunks SELECT row_number() OVER (), id, 'part of ' || title, embedding FROM documents;
        INSERT INTO cites SELECT row_number() OVER (), a.id, b.id, 7 FROM documents a, documents b WHERE a.title < b.title;
    """)


def write_without_waiting(world: World, mark: str, transactions: int = 30) -> None:
    """Fails when one of the transactions waits."""
    with world.connect() as session:
        session.execute(PATIENCE)
        for number in range(transactions):
            with session.transaction():
                session.execute("UPDATE documents SET title = %s, views = views + 1 WHERE title IS NOT NULL", [f"{mark} {number}"])
                session.execute("INSERT INTO documents (title, embedding) VALUES (%s, '{1,2,3,4}')", [f"new {mark} {number}"])
                session.execute("DELETE FROM documents WHERE id = (SELECT id FROM documents ORDER BY id LIMIT 1)")


def agree(world: World) -> None:
    world.wait_synced()
    assert library.differences(world) == []
    assert world.parked() == []


# G5


def test_commits_go_on_while_the_sidecar_is_paused_or_dead_and_arrive_when_it_is_back(shelf: World) -> None:
    shelf.sidecar.pause()
    write_without_waiting(shelf, "paused")
    shelf.sidecar.kill()
    write_without_waiting(shelf, "dead")
    shelf.sidecar.start()
    agree(shelf)


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    library.create(quiet_world)
    fill(quiet_world)
    it = Gated(quiet_world)
    it.sidecar.start()
    quiet_world.wait_synced()
    yield it
    it.sidecar.kill()
    it.close()


def test_commits_go_on_while_no_store_answers(gated: Gated) -> None:
    gated.hold("neo4j", "qdrant", "redis")
    write_without_waiting(gated.world, "silence")
    gated.wait_held("neo4j", "qdrant", "redis")
    write_without_waiting(gated.world, "more")
    gated.open()
    agree(gated.world)


@pytest.mark.parametrize("call", ["apex.read_piece", "apex.checkpoint", "apex.heartbeat"])
def test_commits_go_on_while_the_sidecar_is_stuck_in_a_call_to_postgresql(gated: Gated, call: str) -> None:
    gated.hold_at(call)
    write_without_waiting(gated.world, "stuck", 3)
    gated.wait_held("postgres")
    write_without_waiting(gated.world, "more")
    gated.open()
    agree(gated.world)


def test_commits_go_on_while_the_outbox_is_read_and_rotated(shelf: World) -> None:
    with shelf.connect() as reader, reader.transaction():
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM apex.outbox")
        write_without_waiting(shelf, "read")
        # A long transaction delays no delivery either.
        agree(shelf)


def test_a_writer_does_not_wait_for_the_open_transaction_of_another_nor_does_its_delivery(shelf: World) -> None:
    with shelf.connect() as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO documents (title, embedding) VALUES ('slow', '{1,2,3,4}')")
        slow.execute("UPDATE authors SET name = 'slow' WHERE name = 'Bob'")
        with shelf.connect() as fast:
            fast.execute(PATIENCE)
            fast.execute("INSERT INTO documents (title, embedding) VALUES ('fast', '{1,2,3,4}')")
        wait_until(lambda: shelf.nodes("Document", title="fast"))
        assert shelf.nodes("Document", title="slow") == []
        slow.execute("COMMIT")
    agree(shelf)


def test_commits_that_do_not_wait_for_the_disk_arrive_too(shelf: World) -> None:
    with shelf.connect() as session:
        session.execute("SET synchronous_commit = off")
        for number in range(100):
            session.execute("UPDATE documents SET views = views + %s", [number])
            session.execute("INSERT INTO documents (title, embedding) VALUES (%s, '{1,2,3,4}')", [f"unflushed {number}"])
    agree(shelf)
    assert len(shelf.nodes("Document")) == 105


def test_hundreds_of_concurrent_transactions_on_the_same_rows_end_equal_in_all_stores(shelf: World) -> None:
    seed = int(os.environ.get("APEX_SEED", random.randrange(2**32)))
    print(f"APEX_SEED={seed}")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            chaos(shelf, random.Random(seed * WRITERS + number), number)
        except BaseException as failed:  # noqa: BLE001 - whatever it is, the test fails with it
            failures.append(failed)

    writers = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    shelf.wait_synced(seconds=60)
    agree(shelf)


def chaos(world: World, dice: random.Random, writer: int) -> None:
    """Transactions of one to four random changes of the five first documents and what hangs on them; some are rolled back."""
    with world.connect() as session:
        # Deadlocks are many here, and each would cost a second.
        session.execute("SET deadlock_timeout = '10ms'")
        for number in range(TRANSACTIONS):
            try:
                with session.transaction(force_rollback=dice.random() < 0.1):
                    for _ in range(dice.randint(1, 4)):
                        change_something(session, dice, writer * 1000 + number)
                    if dice.random() < 0.2:
                        with session.transaction(force_rollback=True):
                            session.execute("UPDATE documents SET title = 'rolled back', embedding = '{9,9,9,9}'")
            except (psycopg.errors.DeadlockDetected, psycopg.IntegrityError):
                continue


def change_something(session: psycopg.Connection, dice: random.Random, mark: int) -> None:
    one = "(SELECT id FROM documents ORDER BY id OFFSET %(n)s LIMIT 1)"
    statements = [
        f"UPDATE documents SET title = 'title ' || %(mark)s, views = views + 1 WHERE id = {one}",
        f"UPDATE documents SET embedding = ARRAY[%(n)s, %(mark)s, 1, 1] WHERE id = {one}",
        f"UPDATE documents SET embedding = NULL WHERE id = {one}",
        f"UPDATE documents SET author_id = (SELECT id FROM authors ORDER BY name LIMIT 1 OFFSET %(mark)s %% 3) WHERE id = {one}",
        f"INSERT INTO chunks SELECT %(mark)s, {one}, 'chunk', '{{1,2,3,4}}' ON CONFLICT (id) DO UPDATE SET body = 'again'",
        f"UPDATE chunks SET document_id = {one} WHERE id %% 5 = %(n)s",
        f"UPDATE cites SET to_id = {one}, page = %(mark)s WHERE id %% 4 = %(n)s",
        f"DELETE FROM documents WHERE id = {one} AND %(mark)s %% 3 = 0",
        "INSERT INTO documents (title, embedding) VALUES ('born ' || %(mark)s, '{4,3,2,1}')",
    ]
    session.execute(dice.choice(statements), {"n": dice.randrange(5), "mark": mark})


# G6


def test_a_transaction_and_a_savepoint_that_are_rolled_back_leave_nothing_in_any_store(shelf: World) -> None:
    held = contents(shelf)
    with shelf.pg.transaction(force_rollback=True):
        shelf.pg.execute("UPDATE documents SET title = 'rolled back', embedding = '{9,9,9,9}'")
        shelf.pg.execute("INSERT INTO authors (name) VALUES ('nobody')")
        shelf.pg.execute("DELETE FROM chunks")
    with pytest.raises(psycopg.errors.DivisionByZero), shelf.pg.transaction():
        shelf.pg.execute("DELETE FROM documents")
        shelf.pg.execute("SELECT 1 / 0")
    with shelf.pg.transaction():
        with shelf.pg.transaction(force_rollback=True):
            shelf.pg.execute("UPDATE documents SET title = 'rolled back', author_id = NULL")
            shelf.pg.execute("DELETE FROM cites")
        shelf.pg.execute("INSERT INTO authors (name) VALUES ('Cid')")
    shelf.pg.execute("""
        DO $$ BEGIN
          UPDATE documents SET title = 'rolled back';
          RAISE 'no';
        EXCEPTION WHEN raise_exception THEN
          INSERT INTO authors (name) VALUES ('Dora');
        END $$
    """)
    agree(shelf)
    assert contents(shelf) == held
    assert {node["name"] for node in shelf.nodes("Author")} == {"Ann", "Bob", "Cid", "Dora"}
    assert shelf.metric("apex_saga_executions_total", status="failed") == 0


def contents(world: World) -> dict[str, list]:
    """What the stores hold of documents and chunks, with versions: a row that was written again shows."""
    found: dict[str, list] = {label: sorted(map(repr, world.nodes(label))) for label in ("Document", "Chunk")}
    for collection in ("documents", "chunks"):
        found[collection] = sorted(map(repr, world.qdrant.scroll(collection, limit=100, with_vectors=True)[0]))
    found["entries"] = sorted(f"{key} {world.redis.get(key)}" for key in world.redis.scan_iter("*"))
    return found


def test_a_prepared_transaction_arrives_when_it_is_committed_and_never_when_it_is_rolled_back(shelf: World) -> None:
    for name in ("kept", "dropped"):
        shelf.pg.execute("BEGIN")
        shelf.pg.execute("INSERT INTO documents (title, embedding) VALUES (%s, '{1,2,3,4}')", [name])
        shelf.pg.execute(f"PREPARE TRANSACTION '{shelf.database}_{name}'")
    shelf.pg.execute("INSERT INTO documents (title) VALUES ('between')")
    wait_until(lambda: shelf.nodes("Document", title="between"))
    assert shelf.nodes("Document", title="kept") == shelf.nodes("Document", title="dropped") == []
    shelf.pg.execute(f"COMMIT PREPARED '{shelf.database}_kept'")
    shelf.pg.execute(f"ROLLBACK PREPARED '{shelf.database}_dropped'")
    wait_until(lambda: shelf.nodes("Document", title="kept"))
    agree(shelf)
    assert shelf.nodes("Document", title="dropped") == []
