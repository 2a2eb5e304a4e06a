"""The life of the extension beside its database: dumped, restored, wound back, upgraded with its server, moved and dropped.

These tests speak to the extension alone; no store and no sidecar takes part.
"""

import os
import pathlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from reader import Reader
from world import wait_until

from stores import Postgres, runtime_directory
from stores.ports import free_port

ANOTHER_HISTORY = 1 << 40

# A node table, one that belongs to it, a partitioned one, and one with a column and a name of before it was attached.
SHELF = """
    CREATE TABLE author (id bigint PRIMARY KEY, name text);
    CREATE TABLE book (isbn text PRIMARY KEY, gone int, title text, embedding real[], author_id bigint REFERENCES author);
    ALTER TABLE book DROP COLUMN gone;
    CREATE TABLE visit (id int, day date, note text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
    CREATE TABLE visit_2022 PARTITION OF visit FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
    CREATE TABLE "Odd Name" (id int PRIMARY KEY, value text);
    SELECT apex.attach('author', apex.graph('Author', ARRAY['name']));
    SELECT apex.attach('book', apex.graph('Book', ARRAY['title'], ARRAY[apex.relation('WRITTEN_BY', 'author_id')]),
                       apex.vector('books', 'embedding', 2), aggregate => 'author_id');
    SELECT apex.attach('visit', apex.graph('Visit', ARRAY['note']));
    SELECT apex.attach('"Odd Name"', apex.graph('Odd', ARRAY['value']), pipeline => 'odd');
    ALTER TABLE book RENAME COLUMN title TO heading;
    ALTER TABLE book RENAME COLUMN isbn TO number;
    ALTER TABLE book RENAME COLUMN embedding TO meaning;
    ALTER TABLE author RENAME TO writer;
    INSERT INTO writer VALUES (1, 'Ann');
    INSERT INTO book VALUES ('a', 'first', '{1,2}', 1);
    INSERT INTO visit VALUES (1, '2022-02-02', 'here');
"""
CHANGES = """
    INSERT INTO book VALUES ('b', 'second', '{3,4}', 1);
    UPDATE book SET heading = 'changed' WHERE number = 'a';
    DELETE FROM visit;
    INSERT INTO "Odd Name" VALUES (1, 'x');
"""
# What CHANGES leaves in the outbox, under the names that the stores know.
CAPTURED = [
    ("book", "I", ["b"], [1], {"isbn": "b", "title": "second", "author_id": 1}, "0000404000008040"),
    ("book", "U", ["a"], [1], {"isbn": "a", "title": "changed", "author_id": 1}, "0000803f00000040"),
    ("visit", "D", ["2022-02-02", 1], None, None, None),
    ('"Odd Name"', "I", [1], None, {"id": 1, "value": "x"}, None),
]


def events(session: psycopg.Connection, after_seq: int = 0) -> list[tuple]:
    return session.execute(
        """SELECT relation::regclass::text, op, key, aggregate_key, after, encode(embedding, 'hex') FROM apex.outbox
            WHERE seq > %s ORDER BY seq""",
        [after_seq],
    ).fetchall()


def newest(session: psycopg.Connection) -> int:
    return session.execute("SELECT coalesce(pg_sequence_last_value('apex.outbox_seq'), 0)").fetchone()[0]


def sent_anew(session: psycopg.Connection) -> list[str]:
    """The tables of which every row is to be sent."""
    found = session.execute("SELECT relation::text FROM apex.backfill_progress WHERE finished_at IS NULL ORDER BY 1").fetchall()
    return [name for (name,) in found]


def park(reader: Reader, event) -> str:  # noqa: ANN001
    """Writes the event's saga down as one that failed for good, and returns its id."""
    row = {"relation": event.relation, "key": event.key, "mapping": event.mapping}
    seqs = {"failed_seq": event.seq, "first_seq": event.seq, "oldest_seq": event.seq, "carried_forward": False}
    saga = {
        "id": "00000000-0000-0000-0000-00000000000a",
        "relation": event.relation,
        "key": event.key,
        "xids": [str(event.xid)],
        "steps": ["write_neo4j"],
        "failed_step": "write_qdrant",
        "error_type": "permanent",
        "native_code": "INVALID_ARGUMENT",
        "error": "Wrong input",
        "events": [event.seq],
        "rows": [row | seqs],
    }
    saga_json = psycopg.types.json.Jsonb(saga)
    reader.pg.execute("SELECT apex.record_failure(%s, %s, %s)", [reader.pipeline, reader.epoch, saga_json])
    reader.pg.execute("SELECT apex.settle_failure(%s, %s, %s, 'parked')", [reader.pipeline, reader.epoch, saga["id"]])
    return saga["id"]


def kept(session: psycopg.Connection) -> tuple:
    """What has to come through everything: mappings, and failed sagas with what the stores had accepted."""
    return session.execute(
        """SELECT (SELECT jsonb_agg(jsonb_build_object('id', id, 'relation', relation::regclass, 'active', active, 'pipeline', pipeline,
                                                      'spec', spec - '{key,columns,embedding,aggregate}'::text[]) ORDER BY id) FROM apex.mapping),
                  (SELECT jsonb_agg(to_jsonb(f) ORDER BY id) FROM apex.failed_sagas f),
                  (SELECT jsonb_agg(to_jsonb(r) - 'relation' || jsonb_build_object('relation', r.relation::text)) FROM apex.saga_row r)"""
    ).fetchone()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    server = Postgres(runtime_directory("life") / str(os.getpid()), settings={"wal_level": "logical"})
    server.start()
    yield server
    server.remove()


class Databases:
    """Makes databases that go with the test."""

    def __init__(self, cluster: Postgres) -> None:
        self.cluster = cluster
        self.made: list[str] = []

    def make(self, *statements: str) -> str:
        name = f"life_{secrets.token_hex(4)}"
        with self.cluster.connect() as admin:
            admin.execute(f"CREATE DATABASE {name}")
        self.made.append(name)
        with self.cluster.connect(name) as session:
            for statement in statements:
                session.execute(statement)
        return name

    def dsn(self, name: str) -> str:
        return self.cluster.dsn_of(name)

    def connect(self, name: str) -> psycopg.Connection:
        return self.cluster.connect(name)

    def drop(self) -> None:
        with self.cluster.connect() as admin:
            for name in self.made:
                admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def databases(cluster: Postgres) -> Iterator[Databases]:
    made = Databases(cluster)
    yield made
    made.drop()


def run(*command: str, **options) -> subprocess.CompletedProcess:  # noqa: ANN003
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


# ---- Dump and restore ----


def shelf_with_a_parked_saga(databases: Databases) -> tuple[str, str]:
    name = databases.make("CREATE EXTENSION apex_saga", SHELF)
    reader = Reader(databases.dsn(name))
    reader.lead()
    book = next(event for event in reader.read() if event.key == ["a"])
    saga = park(reader, book)
    reader.pg.close()
    return name, saga


@pytest.mark.parametrize("how", ["plain", "custom", "sections"])
def test_a_restored_database_captures_as_before_and_keeps_its_failed_sagas(
    databases: Databases, tmp_path: pathlib.Path, how: str
) -> None:
    name, saga = shelf_with_a_parked_saga(databases)
    with databases.connect(name) as original:
        before = kept(original)
    copy, file = databases.make(), str(tmp_path / "dump")
    if how == "plain":
        run("pg_dump", "--file", file, databases.dsn(name))
        run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", file, databases.dsn(copy))
    else:
        run("pg_dump", "--format", "custom", "--file", file, databases.dsn(name))
        for section in ["pre-data", "data", "post-data"] if how == "sections" else [None]:
            limited = [f"--section={section}"] if section else []
            run("pg_restore", "--exit-on-error", *limited, "--dbname", databases.dsn(copy), file)
    with databases.connect(copy) as restored:
        assert kept(restored) == before
        assert events(restored) == []
        restored.execute(CHANGES)
        assert events(restored) == CAPTURED
        # A parked saga can be sent again, under the rows' names and keys of the restored tables.
        assert restored.execute("SELECT apex.retry(%s)", [saga]).fetchone() == (1,)
        assert events(restored)[-1] == ("book", "R", *CAPTURED[1][2:])
        # Partitions are followed here as well.
        restored.execute("CREATE TABLE visit_2023 PARTITION OF visit FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')")
        restored.execute("INSERT INTO visit VALUES (2, '2023-03-03', 'gone with its year')")
        restored.execute("DROP TABLE visit_2023")
        assert [event[1:3] for event in events(restored)[-2:]] == [("I", ["2023-03-03", 2]), ("D", ["2023-03-03", 2])]


def test_a_dump_that_cleans_first_is_restored_over_its_own_database(databases: Databases, tmp_path: pathlib.Path) -> None:
    name, _ = shelf_with_a_parked_saga(databases)
    file = str(tmp_path / "dump")
    with databases.connect(name) as session:
        # pg_dump does not know how to drop the primary key of a partitioned table; the mapping goes with it.
        session.execute("DROP TABLE visit")
        mappings, *failed = kept(session)
        run("pg_dump", "--format", "custom", "--file", file, databases.dsn(name))
        run("pg_restore", "--exit-on-error", "--clean", "--if-exists", "--dbname", databases.dsn(name), file)
        assert kept(session) == ([mapping for mapping in mappings if mapping["spec"]["table"] != "public.visit"], *failed)
        session.execute("UPDATE book SET heading = 'changed'")
        assert events(session) == [CAPTURED[1]]


def test_a_restored_database_is_another_history_in_which_nothing_is_stuck(databases: Databases, tmp_path: pathlib.Path) -> None:
    name, _ = shelf_with_a_parked_saga(databases)
    with databases.connect(name) as original:
        given_out = newest(original)
    copy, file = databases.make(), str(tmp_path / "dump")
    run("pg_dump", "--file", file, databases.dsn(name))
    run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", file, databases.dsn(copy))
    for pipeline, keys, tables in [
        ("default", [["b"], ["a"], ["2022-02-02", 1]], ["book", "visit", "writer"]),
        ("odd", [[1]], ['"Odd Name"', "book", "visit", "writer"]),
    ]:
        reader = Reader(databases.dsn(copy), name="elsewhere", pipeline=pipeline)
        reader.pg.execute("UPDATE apex.pipeline SET heartbeat = '-infinity'")
        assert reader.lead().another_history
        with databases.connect(copy) as restored:
            assert sent_anew(restored) == tables
        if pipeline == "default":
            with databases.connect(copy) as restored:
                restored.execute(CHANGES)
        batch = reader.batch()
        assert [event.key for event in batch] == keys
        assert min(event.seq for event in batch) > given_out + ANOTHER_HISTORY - 1
        assert not reader.lead().another_history
        assert reader.batch() == []
        reader.pg.close()


def test_the_schema_alone_restored_warns_instead_of_failing_a_write(databases: Databases, tmp_path: pathlib.Path) -> None:
    name, _ = shelf_with_a_parked_saga(databases)
    copy, file = databases.make(), str(tmp_path / "dump")
    run("pg_dump", "--schema-only", "--file", file, databases.dsn(name))
    run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", file, databases.dsn(copy))
    with databases.connect(copy) as session:
        said: list[str] = []
        session.add_notice_handler(lambda notice: said.append(notice.message_primary))
        session.execute("INSERT INTO writer VALUES (1, 'Ann')")
        assert said == ['changes of table "writer" are not captured']
        session.execute("DROP TRIGGER apex_capture ON writer; DROP TRIGGER apex_truncate ON writer")
        session.execute("SELECT apex.attach('writer', apex.graph('Author', ARRAY['name']))")
        session.execute("INSERT INTO writer VALUES (2, 'Bob')")
        assert [event[2] for event in events(session)] == [[2]]


# ---- Moved, dropped, made again ----


def test_dropping_the_extension_takes_cascade_and_leaves_every_table_writable(databases: Databases) -> None:
    name, _ = shelf_with_a_parked_saga(databases)
    with databases.connect(name) as session, databases.connect(name) as other:
        # The other session has everything of a capture in its caches.
        other.execute("UPDATE writer SET name = 'Bea'")
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            session.execute("DROP EXTENSION apex_saga")
        session.execute("DROP EXTENSION apex_saga CASCADE")
        for writer in (session, other):
            for statement in CHANGES.split(";"):
                writer.execute(statement)
            writer.execute("""DELETE FROM book WHERE number = 'b'; DELETE FROM "Odd Name"; TRUNCATE visit""")
        left = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
        assert session.execute(left).fetchone() == (0,)
        assert session.execute("SELECT count(*) FROM pg_event_trigger").fetchone() == (0,)
        assert session.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'apex'").fetchone() == (0,)

        # Made again, it begins anew, for sessions that knew the old one, too.
        session.execute("CREATE EXTENSION apex_saga")
        session.execute("SELECT apex.attach('writer', apex.graph('Author', ARRAY['name']))")
        other.execute("UPDATE writer SET name = 'Cid'")
        assert [event[:3] for event in events(session)] == [("writer", "U", [1])]


def test_an_extension_whose_tables_are_detached_is_dropped_without_cascade(databases: Databases) -> None:
    name, _ = shelf_with_a_parked_saga(databases)
    with databases.connect(name) as session:
        session.execute("SELECT apex.detach(relation) FROM apex.mapping WHERE active ORDER BY id DESC")
        session.execute("DROP EXTENSION apex_saga")
        session.execute(CHANGES)
        session.execute("TRUNCATE visit, writer CASCADE")


def test_the_functions_of_ids_live_in_the_schema_that_was_asked_for(databases: Databases, tmp_path: pathlib.Path) -> None:
    name = databases.make('CREATE SCHEMA "My Ids"', 'CREATE EXTENSION apex_saga SCHEMA "My Ids"')
    with databases.connect(name) as session:
        session.execute("SET search_path = ''")
        session.execute('CREATE TABLE public.note (id uuid DEFAULT "My Ids".uuid7() PRIMARY KEY, text text)')
        session.execute("SELECT apex.attach('public.note', apex.graph('Note', ARRAY['text']))")
        session.execute("INSERT INTO public.note (text) VALUES ('x')")
        found = session.execute(
            """SELECT count(*), bool_and("My Ids".is_uuid7(id)) FROM public.note
                WHERE "My Ids".uuid7_between(id, now() - interval '1 hour', now() + interval '1 hour')"""
        ).fetchone()
        assert found == (1, True)
        assert len(events(session)) == 1
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            session.execute("ALTER EXTENSION apex_saga SET SCHEMA public")
    copy, file = databases.make(), str(tmp_path / "dump")
    run("pg_dump", "--file", file, databases.dsn(name))
    run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", file, databases.dsn(copy))
    with databases.connect(copy) as session:
        session.execute("INSERT INTO public.note (text) VALUES ('restored')")
        assert [event[1] for event in events(session)] == ["I"]


# ---- Other histories ----


def copy_cluster(original: Postgres, data: pathlib.Path) -> Postgres:
    """A cluster of its own on `data`, which a stopped server of the original's left; it keeps the passwords."""
    copy = Postgres(data.parent)
    shutil.copy2(original.directory / "password", copy.directory / "password")
    if os.getuid() == 0:
        for path in [copy.directory, copy.directory / "password"]:
            shutil.chown(path, "postgres", "postgres")
    copy.directory.chmod(0o700)
    return copy


def copy_data(original: Postgres, name: str) -> pathlib.Path:
    directory = runtime_directory(name) / str(os.getpid())
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    run("cp", "--archive", str(original.data), str(directory / "data"))
    return directory / "data"


@pytest.fixture
def own_cluster() -> Iterator[Postgres]:
    """A cluster that the test may stop, copy and wind back."""
    server = Postgres(runtime_directory("life-own") / str(os.getpid()), settings={"wal_keep_size": "1GB"})
    server.start()
    with server.connect() as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute(SHELF)
    yield server
    server.remove()


def test_a_point_in_time_recovery_loses_no_pending_change_and_hides_none_behind_a_lost_one(own_cluster: Postgres) -> None:
    own_cluster.stop()
    base = copy_data(own_cluster, "life-pitr")
    own_cluster.start()
    reader = Reader(own_cluster.dsn)
    reader.lead()
    first = reader.batch()
    saga = park(reader, next(event for event in first if event.key == ["a"]))
    with own_cluster.connect() as session:
        session.execute(CHANGES)
        before = kept(session)
        session.execute("SELECT pg_create_restore_point('wanted')")
        # From here on it is undone, but the stores have it.
        session.execute("INSERT INTO writer SELECT n, 'lost' FROM generate_series(100, 200) n")
        assert len(reader.batch()) == len(CAPTURED) - 1 + 101
        reader.pg.execute("SELECT apex.discard(%s)", [saga])
        lost = newest(session)
        session.execute("SELECT pg_switch_wal()")
    reader.pg.close()
    own_cluster.stop()

    recovered = copy_cluster(own_cluster, base)
    (base / "recovery.signal").touch()
    with (base / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"restore_command = 'cp {own_cluster.data}/pg_wal/%f %p'\n")
        settings.write("recovery_target_name = 'wanted'\nrecovery_target_action = 'promote'\n")
    recovered.start()
    try:
        with recovered.connect() as session:
            # It answers as a standby until it has come to its end.
            wait_until(lambda: session.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,))
            assert kept(session) == before
            assert session.execute("SELECT count(*) FROM writer").fetchone() == (1,)
            successor = Reader(recovered.dsn)
            led = successor.lead()
            assert led.another_history and led.epoch > reader.epoch + 1_000_000
            assert sent_anew(session) == ["book", "visit", "writer"]
            session.execute("INSERT INTO writer VALUES (100, 'not the one the stores have')")
            batch = successor.batch()
            # What was pending comes, what was delivered does not, and the new row outdoes the lost one of its key.
            assert [event.key for event in batch] == [["b"], ["a"], ["2022-02-02", 1], [100]]
            assert batch[-1].seq > lost + ANOTHER_HISTORY // 2
            assert not successor.lead().another_history
            assert session.execute("SELECT apex.retry(%s)", [saga]).fetchone() == (1,)
            assert [(event.op, event.key) for event in successor.batch()] == [("R", ["a"])]
            successor.pg.close()
    finally:
        recovered.remove()


def test_a_cluster_put_back_to_a_snapshot_of_its_disk_is_another_history_once_that_is_said(own_cluster: Postgres) -> None:
    reader = Reader(own_cluster.dsn)
    epoch = reader.lead().epoch
    reader.pg.close()
    own_cluster.stop()
    snapshot = copy_data(own_cluster, "life-snapshot")
    own_cluster.start()
    with own_cluster.connect() as session:
        session.execute("INSERT INTO writer SELECT n, 'lost' FROM generate_series(100, 200) n")
        lost = newest(session)
    restored = copy_cluster(own_cluster, snapshot)
    restored.start()
    try:
        with restored.connect() as session:
            session.execute("SELECT apex.restored()")
            successor = Reader(restored.dsn)
            led = successor.lead()
            assert led.another_history and led.epoch > epoch + 1_000_000
            assert sent_anew(session) == ["book", "visit", "writer"]
            session.execute("INSERT INTO writer VALUES (100, 'not the one the stores have')")
            assert [event.key for event in successor.batch()] == [[1], ["a"], ["2022-02-02", 1], [100]]
            assert newest(session) > lost + ANOTHER_HISTORY // 2
            assert not successor.lead().another_history
            successor.pg.close()
    finally:
        restored.remove()


# `make check-matrix` names a newer installation; else the cluster moves to a new one of the same version.
UPGRADED_TO = os.environ.get("APEX_UPGRADE_TO")


def test_pg_upgrade_keeps_mappings_failed_sagas_and_pending_changes(own_cluster: Postgres) -> None:
    reader = Reader(own_cluster.dsn)
    reader.lead()
    saga = park(reader, next(event for event in reader.batch() if event.key == ["a"]))
    reader.pg.close()
    # PostgreSQL 18 makes checksums unless it is told not to, and pg_upgrade wants both alike.
    initdb = ["--no-data-checksums"] if UPGRADED_TO else []
    upgraded = Postgres(runtime_directory("life-upgraded") / str(os.getpid()), pg_config=UPGRADED_TO, initdb=initdb)
    upgraded.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    upgraded.prepare()
    with own_cluster.connect() as session:
        session.execute(CHANGES)
        before, given_out, pending = kept(session), newest(session), events(session)
        # One password for both, as pg_upgrade moves the old one over half-way.
        session.execute(f"ALTER ROLE postgres PASSWORD '{upgraded.password}'")
        if UPGRADED_TO:
            # A packager's server may mark every column with an option that others do not know; none is of ours.
            session.execute("SET allow_system_table_mods = on; UPDATE pg_attribute SET attoptions = NULL WHERE attoptions IS NOT NULL")
    own_cluster.stop()
    run(
        *upgraded.as_user,
        str(upgraded.bin / "pg_upgrade"),
        *("--old-bindir", str(own_cluster.bin), "--old-datadir", str(own_cluster.data), "--old-port", str(free_port())),
        *("--new-bindir", str(upgraded.bin), "--new-datadir", str(upgraded.data), "--new-port", str(free_port())),
        *("--username=postgres", f"--socketdir={upgraded.directory}"),
        # The settings of both are in no file that pg_upgrade's servers would read.
        *("--old-options=-c shared_preload_libraries=apex_saga", "--new-options=-c shared_preload_libraries=apex_saga"),
        cwd=upgraded.directory,
        env={**upgraded.environment(), "PGPASSWORD": upgraded.password},
    )
    upgraded.start()
    try:
        with upgraded.connect() as session:
            assert kept(session) == before
            assert events(session) == pending
            assert session.execute("SELECT bool_and(relation::oid = relation_oid) FROM apex.mapping").fetchone() == (True,)
            successor = Reader(upgraded.dsn, name="upgraded")
            led = successor.lead()
            assert led.another_history and led.epoch > reader.epoch + 1_000_000
            assert sent_anew(session) == ["book", "visit", "writer"]
            session.execute("INSERT INTO writer VALUES (2, 'after the upgrade')")
            batch = successor.batch()
            # Where the cursor stood means nothing here, so that delivered changes come again; each is a state.
            assert [event.key for event in batch][-4:] == [["b"], ["a"], ["2022-02-02", 1], [2]]
            assert batch[-1].seq > given_out + ANOTHER_HISTORY - 1
            assert session.execute("SELECT apex.retry(%s)", [saga]).fetchone() == (1,)
            assert [(event.op, event.key) for event in successor.batch()] == [("R", ["a"])]
            successor.pg.close()
    finally:
        upgraded.remove()
