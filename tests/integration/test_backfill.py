"""Rows that were there before their table was attached arrive, while others write, through crashes, and at the set rate."""

import os
import threading
from collections.abc import Iterator

import library
import psycopg
import pytest
from command import apex
from gated import Gated
from stores import Postgres, runtime_directory
from world import World, wait_until

# More than one step of the leader takes.
ROWS = 1500

BEFORE = """
    CREATE TABLE notes (id bigint PRIMARY KEY, body text, version int NOT NULL DEFAULT 0, embedding real[]);
    INSERT INTO notes SELECT n, 'before', 0, ARRAY[n, 1, 0, 0] FROM generate_series(1, {rows}) n;
"""
ATTACH = """
    SELECT apex.attach('notes', backfill => true,
      graph  => apex.graph(label => 'Note', properties => ARRAY['body', 'version']),
      vector => apex.vector(collection => 'notes', embedding => 'embedding', dimensions => 4, payload => ARRAY['version']))
"""


def prepare(world: World, rows: int = ROWS) -> None:
    world.pg.execute(BEFORE.format(rows=rows))


def progress(world: World, table: str = "public.notes") -> dict:
    (pipeline,) = world.value("SELECT apex.status()")["pipelines"]
    return next((b for b in pipeline["backfills"] if b["table"] == table), {})


def unverified_since(world: World) -> str | None:
    (pipeline,) = world.value("SELECT apex.status()")["pipelines"]
    return pipeline["unverified_since"]


def wait_finished(world: World, table: str = "public.notes") -> dict:
    return wait_until(lambda: progress(world, table).get("finished_at") and progress(world, table), message=lambda: str(progress(world, table)))


def differences(world: World) -> list[str]:
    wanted = {row["id"]: (row["body"], row["version"]) for row in world.rows("SELECT id, body, version FROM notes")}
    nodes = {row["id"]: (row["body"], row["version"]) for row in world.cypher("MATCH (n:Note) RETURN n.id AS id, n.body AS body, n.version AS version")}
    points, offset = {}, None
    while True:
        page, offset = world.qdrant.scroll("notes", limit=1000, offset=offset, with_payload=True)
        points.update({record.id: record.payload["version"] for record in page})
        if offset is None:
            break
    versions = {key: version for key, (_, version) in wanted.items()}
    return [f"node {key}" for key in wanted.keys() ^ nodes.keys() | {k for k in wanted if nodes.get(k) != wanted[k]}] + [
        f"point {key}" for key in versions.keys() ^ points.keys() | {k for k in versions if points.get(k) != versions[k]}
    ]


def test_attaching_with_backfill_alone_makes_every_row_arrive(world: World) -> None:
    prepare(world)
    world.pg.execute(ATTACH)
    done = wait_finished(world)
    assert (done["rows_sent"], done["rows_expected"], done["rows_held"]) == (ROWS, ROWS, 0)
    world.wait_synced()
    assert differences(world) == []


def test_what_is_written_meanwhile_wins_over_what_was_there(world: World) -> None:
    prepare(world)
    stop = threading.Event()

    def write(first: int) -> None:
        with world.connect() as session:
            for key in range(first, ROWS * 10, 3):
                if stop.is_set():
                    return
                row = key % ROWS + 1
                session.execute("UPDATE notes SET version = version + 1, body = 'during' WHERE id = %s", [row])
                if key % 5 == 0:
                    session.execute("DELETE FROM notes WHERE id = %s", [row])
                if key % 10 == 0:
                    session.execute("INSERT INTO notes VALUES (%s, 'again', 1, '{1,0,0,0}') ON CONFLICT DO NOTHING", [row])
                if key % 7 == 0:
                    session.execute("UPDATE notes SET id = %s WHERE id = %s", [ROWS * 10 + key, row])

    writers = [threading.Thread(target=write, args=[first]) for first in range(3)]
    for writer in writers:
        writer.start()
    world.pg.execute(ATTACH)
    wait_finished(world)
    stop.set()
    for writer in writers:
        writer.join()
    world.wait_synced()
    assert world.parked() == []
    assert differences(world) == []


def test_a_row_that_somebody_holds_is_sent_once_it_is_free(world: World) -> None:
    prepare(world, 20)
    with world.connect() as holder, holder.transaction():
        holder.execute("SELECT FROM notes WHERE id = 7 FOR UPDATE")
        # Attaching does not wait for it either.
        world.pg.execute(ATTACH)
        wait_until(lambda: (progress(world)["rows_sent"], progress(world)["rows_held"]) == (19, 1))
        assert progress(world)["finished_at"] is None
    wait_finished(world)
    world.wait_synced()
    assert differences(world) == []


def test_it_goes_on_where_a_killed_sidecar_left_it(world: World) -> None:
    prepare(world)
    world.pg.execute(ATTACH)
    world.pg.execute("SELECT apex.backfill('notes', 600)")
    seen = wait_until(lambda: progress(world)["rows_sent"])
    world.sidecar.kill()
    left = progress(world)
    assert seen <= left["rows_sent"] < ROWS and left["finished_at"] is None
    # Nobody steps back: the rate is lifted where it is, not by beginning anew.
    world.pg.execute("UPDATE apex.backfill_progress SET rows_per_second = NULL")
    events = world.value("SELECT count(*) FROM apex.outbox WHERE op = 'R'")
    assert events == left["rows_sent"]
    world.sidecar.start()
    assert wait_finished(world)["rows_sent"] == ROWS
    world.wait_synced()
    assert differences(world) == []


@pytest.fixture
def own_cluster() -> Iterator[Postgres]:
    """A server that the test may kill."""
    server = Postgres(runtime_directory("backfill") / str(os.getpid()), fsync=True)
    server.start()
    yield server
    server.remove()


def test_a_crash_of_the_server_loses_a_piece_with_its_events_or_neither(own_cluster: Postgres) -> None:
    with own_cluster.connect() as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute("CREATE TABLE notes AS SELECT n AS id FROM generate_series(1, 5000) n; ALTER TABLE notes ADD PRIMARY KEY (id)")
        session.execute("SELECT apex.attach('notes', apex.graph('Note'), backfill => true)")
        session.execute("SELECT apex.lead('default', 'test', 600000)")
        for _ in range(7):
            step(session)
        own_cluster.kill()
    own_cluster.start()
    with own_cluster.connect() as session:
        sent, after = session.execute("SELECT rows_sent, (after_key ->> 0)::int FROM apex.backfill_progress").fetchone()
        assert sent <= 3500 and sent == (after or 0)
        assert session.execute("SELECT count(*) FROM apex.outbox WHERE op = 'R'").fetchone()[0] == sent
        while step(session) is not None:
            pass
        assert session.execute("SELECT count(*), count(DISTINCT key) FROM apex.outbox WHERE op = 'R'").fetchone() == (5000, 5000)


def step(session: psycopg.Connection) -> int | None:
    """As the leader takes it; None when there is nothing left to do."""
    return session.execute(
        "SELECT s.rows_sent FROM apex.pipeline p, apex.backfill_step(p.name, p.epoch, 500) s WHERE p.name = 'default'"
    ).fetchone()[0]


def test_it_waits_while_a_store_is_down(quiet_world: World) -> None:
    # It stops at 4000 that the stores do not have, whether the leader has read them or cannot; steps of 500 are under way.
    rows = 16000
    prepare(quiet_world, rows)
    gated = Gated(quiet_world)
    gated.sidecar.start()
    gated.hold("qdrant")
    quiet_world.pg.execute(ATTACH)
    wait_until(lambda: progress(quiet_world)["rows_sent"] > 4000)
    # Sent without a pause, all would be there long before.
    with pytest.raises(AssertionError):
        wait_until(lambda: progress(quiet_world)["rows_sent"] == rows, seconds=5)
    gated.open()
    assert wait_finished(quiet_world)["rows_sent"] == rows
    quiet_world.wait_synced()
    assert differences(quiet_world) == []
    gated.close()


KEYS = {
    "by_uuid": "id uuid PRIMARY KEY DEFAULT uuid7()",
    "by_text": "id text PRIMARY KEY DEFAULT md5(random()::text) || E'\\u00e4\"\\\\'",
    "by_pair": "a int DEFAULT (random() * 1e9)::int, b text DEFAULT md5(random()::text), PRIMARY KEY (a, b)",
    "by_time": "at timestamptz PRIMARY KEY DEFAULT '2022-01-01'::timestamptz + random() * interval '1 year'",
    "by_part": "id int, day date DEFAULT '2022-01-01'::date + (random() * 700)::int, PRIMARY KEY (id, day)",
}


@pytest.mark.parametrize("table", KEYS)
def test_every_kind_of_key_is_walked_to_its_end(world: World, table: str) -> None:
    partition = " PARTITION BY RANGE (day)" if table == "by_part" else ""
    world.pg.execute(f"CREATE TABLE {table} ({KEYS[table]}, n int NOT NULL){partition}")
    if partition:
        for year in (2022, 2023):
            world.pg.execute(f"CREATE TABLE part_{year} PARTITION OF {table} FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')")
    world.pg.execute(f"INSERT INTO {table} ({'id, ' * bool(partition)}n) SELECT {'n, ' * bool(partition)}n FROM generate_series(1, 1100) n")
    world.pg.execute("SELECT apex.attach(%s, apex.graph('Keyed', properties => ARRAY['n']), backfill => true)", [table])
    assert wait_finished(world, f"public.{table}")["rows_sent"] == 1100
    world.wait_synced()
    assert sorted(row["n"] for row in world.cypher("MATCH (k:Keyed) RETURN k.n AS n")) == list(range(1, 1101))


def command(world: World, *arguments: str) -> tuple[int, str, str]:
    done = apex(*arguments, variables=world.sidecar.variables, seconds=60)
    return done.returncode, done.stdout, done.stderr


def test_the_command_sends_a_table_and_ends_when_it_has_arrived(world: World) -> None:
    library.create(world)
    with world.pg.transaction():
        # Behind the triggers' back: as if the stores had been emptied.
        world.pg.execute("ALTER TABLE authors DISABLE TRIGGER apex_capture")
        world.pg.execute("INSERT INTO authors (name) SELECT 'Ann ' || n FROM generate_series(1, 30) n")
        world.pg.execute("ALTER TABLE authors ENABLE ALWAYS TRIGGER apex_capture")
    code, said, error = command(world, "backfill", "authors", "--rate", "1000")
    assert (code, error) == (0, "") and "30 rows of public.authors sent" in said
    assert library.differences(world) == []
    assert progress(world, "public.authors")["rows_per_second"] == 1000


def test_the_command_says_what_it_cannot_do(world: World) -> None:
    library.create(world)
    code, said, error = command(world, "backfill", "nothing")
    assert (code, said) == (2, "") and "no table nothing is attached" in error
    code, _, error = command(world, "backfill", "public.authors", "--rate", "0")
    assert code == 2 and "--rate" in error


def test_after_a_restore_everything_is_sent_again(world: World) -> None:
    """The stores may hold what the lost history wrote, and lack what the restored one has."""
    library.create(world)
    world.pg.execute("INSERT INTO authors (name) VALUES ('Ann'), ('Ben')")
    world.wait_synced()
    world.sidecar.kill()
    world.pg.execute("UPDATE apex.pipeline SET system_identifier = 1")
    world.cypher("MATCH (n:Author {name: 'Ann'}) DETACH DELETE n")
    world.cypher("MATCH (n:Author {name: 'Ben'}) SET n.name = 'of another history'")
    world.sidecar.start()
    wait_finished(world, "public.authors")
    world.wait_synced()
    assert library.differences(world) == []
    wait_until(lambda: unverified_since(world) is None)


def test_after_a_restore_the_leader_says_what_only_the_stores_have_until_it_is_repaired(world: World) -> None:
    library.create(world)
    world.pg.execute("INSERT INTO authors (name) VALUES ('Ann'), ('Ben')")
    world.wait_synced()
    world.sidecar.kill()
    world.pg.execute("UPDATE apex.pipeline SET system_identifier = 1")
    # Behind the trigger's back: the lost history had Ben, this one has not.
    world.pg.execute("ALTER TABLE authors DISABLE TRIGGER apex_capture; DELETE FROM authors WHERE name = 'Ben'")
    world.pg.execute("ALTER TABLE authors ENABLE ALWAYS TRIGGER apex_capture")
    world.sidecar.start()
    wait_until(lambda: "rows of public.authors that differ in the stores since PostgreSQL was restored or replaced: 1." in world.sidecar.log_text())
    assert unverified_since(world) is not None
    code, said, _ = command(world, "verify", "--table", "documents")
    assert code == 0, said
    assert unverified_since(world) is not None, "one table is not the pipeline"
    assert "restored or replaced" in command(world, "doctor")[1]
    code, said, error = command(world, "repair")
    assert code == 0, said + error
    assert unverified_since(world) is None
    assert "restored or replaced" not in command(world, "doctor")[1]


def test_a_backfill_does_not_hold_up_who_locks_rows(world: World) -> None:
    """A step that meets a lock neither waits nor fails."""
    prepare(world, 50)
    with world.connect() as holder, holder.transaction():
        holder.execute("SELECT FROM notes FOR UPDATE")
        world.pg.execute("SET lock_timeout = '5s'")
        try:
            world.pg.execute(ATTACH)
        except psycopg.errors.LockNotAvailable:
            pytest.fail("attaching waited for a row lock")
        wait_until(lambda: progress(world)["rows_held"] == 50)
    assert wait_finished(world)["rows_sent"] == 50


def test_a_mapping_altered_with_backfill_gives_every_row_its_new_shape(world: World) -> None:
    prepare(world, 300)
    world.pg.execute(ATTACH)
    wait_finished(world)
    world.wait_synced()
    world.pg.execute("""
        SELECT apex.alter('notes', backfill => true,
          graph => apex.graph(label => 'Note', properties => ARRAY['version']),
          cache => apex.cache('note', mode => 'write', columns => ARRAY['body']))
    """)
    wait_finished(world)
    world.wait_synced()
    assert world.redis.exists(*(f"note:{key}" for key in range(1, 301))) == 300
    assert world.parked() == []
    world.pg.execute("UPDATE notes SET version = 5 WHERE id = 7")
    world.wait_synced()
    assert world.node("Note", id=7)["version"] == 5


def test_a_purged_table_leaves_nothing_in_the_stores(world: World) -> None:
    library.create(world)
    world.pg.execute("""
        INSERT INTO authors (name) VALUES ('Ann');
        INSERT INTO documents (title, author_id, embedding) SELECT 'about ' || n, (SELECT id FROM authors), ARRAY[n, 1, 0, 0] FROM generate_series(1, 30) n;
        INSERT INTO chunks SELECT n, (SELECT id FROM documents LIMIT 1), 'body', ARRAY[n, 1, 0, 0] FROM generate_series(1, 5) n;
        INSERT INTO cites SELECT n, d.id, d.id, n FROM generate_series(1, 3) n, (SELECT id FROM documents LIMIT 1) d;
    """)
    world.wait_synced()
    for table in ("cites", "chunks", "documents"):
        world.pg.execute("SELECT apex.detach(%s, purge => true)", [table])
    world.wait_synced()
    assert world.cypher("MATCH (n) WHERE n:Document OR n:Chunk RETURN n") == []
    assert world.relations("CITES") == set()
    assert (world.point_count("documents"), world.point_count("chunks")) == (0, 0)
    assert list(world.redis.scan_iter("doc:*")) == []
    assert world.value("SELECT count(*) FROM documents") == 30 and len(world.nodes("Author")) == 1
