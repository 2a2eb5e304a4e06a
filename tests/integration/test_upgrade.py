"""ALTER EXTENSION apex_saga UPDATE: from every released version to a catalog that a fresh install would have made."""

import difflib
import os
import pathlib
import re
from collections.abc import Iterator

import psycopg
import pytest

from stores import SIDECAR_ROLE, Postgres, runtime_directory
from stores.paths import ROOT

RELEASED = sorted(
    found[1]
    for script in (ROOT / "extension/sql/released").glob("apex_saga--*.sql")
    if (found := re.fullmatch(r"apex_saga--((?:(?!--).)+)\.sql", script.name))
)

# What makes up a member of the extension, without oids. Comments, rights and settings count as much as columns do.
CATALOG = """
    WITH member AS (
      SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'apex_saga'
       WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    ), relation AS (
      SELECT c.* FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
    ), line (kind, name, what) AS (
      SELECT 'member', pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name) FROM member
      UNION ALL
      SELECT 'function', p.oid::regprocedure::text,
             concat_ws(' ', pg_get_functiondef(p.oid), p.proowner::regrole, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(p.proacl) a))
        FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
      UNION ALL
      SELECT 'relation', r.oid::regclass::text,
             concat_ws(' ', r.relkind, r.relpersistence, r.relowner::regrole, r.reloptions, t.reloptions, r.relrowsecurity,
                       (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(r.relacl) a), pg_get_viewdef(r.oid))
        FROM relation r LEFT JOIN pg_class t ON t.oid = r.reltoastrelid
      UNION ALL
      SELECT 'column', format('%s %s %s', r.oid::regclass, row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), a.attname),
             concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage, a.attcompression, a.attgenerated, a.attislocal,
                       a.attinhcount, pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
        FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
      UNION ALL
      SELECT 'sequence', s.seqrelid::regclass::text, to_jsonb(s)::text FROM (
        SELECT q.seqrelid::regclass, format_type(seqtypid, NULL), seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle
          FROM pg_sequence q JOIN relation r ON r.oid = q.seqrelid) s
      UNION ALL
      SELECT 'parent', i.inhrelid::regclass::text, i.inhparent::regclass::text FROM pg_inherits i JOIN relation r ON r.oid = i.inhrelid
      UNION ALL
      SELECT 'constraint', c.conrelid::regclass || ' ' || c.conname, pg_get_constraintdef(c.oid)
        FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
      UNION ALL
      SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN relation r ON r.oid = i.indrelid
      UNION ALL
      SELECT 'trigger', t.tgrelid::regclass || ' ' || t.tgname, concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
        FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
      UNION ALL
      SELECT 'event trigger', t.evtname, concat_ws(' ', t.evtevent, t.evtowner::regrole, t.evtfoid::regproc, t.evtenabled, t.evttags)
        FROM member m JOIN pg_event_trigger t ON m.classid = 'pg_event_trigger'::regclass AND t.oid = m.objid
      UNION ALL
      SELECT 'schema', n.nspname, concat_ws(' ', n.nspowner::regrole, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(n.nspacl) a))
        FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
      UNION ALL
      SELECT 'extension', c.oid::regclass::text, e.extcondition[place]
        FROM pg_extension e, unnest(e.extconfig) WITH ORDINALITY config(oid, place), pg_class c WHERE c.oid = config.oid AND e.extname = 'apex_saga'
      UNION ALL
      SELECT 'extension', extname, concat_ws(' ', extversion, extnamespace::regnamespace, extrelocatable) FROM pg_extension WHERE extname = 'apex_saga'
      UNION ALL
      SELECT 'initial rights', pg_describe_object(i.classoid, i.objoid, i.objsubid),
             concat_ws(' ', i.privtype, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(i.initprivs) a))
        FROM pg_init_privs i JOIN member m ON m.classid = i.classoid AND m.objid = i.objoid
    )
    SELECT format('%s: %s: %s', kind, name, what) FROM line ORDER BY 1
"""

DOCUMENTS = """
    CREATE TABLE documents (id bigint PRIMARY KEY, title text, embedding real[]);
    SELECT apex.attach('documents', apex.graph('Document', ARRAY['title']), apex.vector('documents', 'embedding', 2));
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    server = Postgres(runtime_directory("upgrade") / str(os.getpid()))
    server.start()
    yield server
    server.remove()


@pytest.fixture
def session(cluster: Postgres) -> Iterator[psycopg.Connection]:
    """A session of an empty database."""
    with cluster.connect() as admin:
        admin.execute("CREATE DATABASE upgraded")
        with cluster.connect("upgraded") as connection:
            yield connection
        admin.execute("DROP DATABASE upgraded WITH (FORCE)")


def catalog(session: psycopg.Connection) -> list[str]:
    return [line for (line,) in session.execute(CATALOG).fetchall()]


@pytest.fixture(scope="module")
def fresh(cluster: Postgres) -> list[str]:
    """The catalog that CREATE EXTENSION makes."""
    with cluster.connect() as admin:
        admin.execute("CREATE DATABASE fresh")
        with cluster.connect("fresh") as session:
            session.execute("CREATE EXTENSION apex_saga")
            return catalog(session)


def default_version() -> str:
    control = (ROOT / "extension/apex_saga.control").read_text()
    return re.search(r"^default_version = '(.*)'$", control, re.MULTILINE)[1]


def test_there_is_a_release_to_upgrade_from_and_a_hand_written_part_for_the_next() -> None:
    assert RELEASED
    assert default_version() not in RELEASED
    assert pathlib.Path(ROOT, "extension/sql/upgrade", f"{RELEASED[-1]}--{default_version()}.sql").exists()


@pytest.mark.parametrize("version", RELEASED)
def test_an_upgraded_database_has_the_catalog_of_a_fresh_one(session: psycopg.Connection, fresh: list[str], version: str) -> None:
    """What differs belongs into extension/sql/upgrade."""
    session.execute(f"CREATE EXTENSION apex_saga VERSION '{version}'")
    session.execute("ALTER EXTENSION apex_saga UPDATE")
    difference = "\n".join(difflib.unified_diff(catalog(session), fresh, "upgraded", "fresh", lineterm="", n=0))
    assert not difference, difference


@pytest.mark.parametrize("version", RELEASED)
def test_an_upgrade_keeps_mappings_cursors_and_failed_sagas_and_goes_on_capturing(session: psycopg.Connection, version: str) -> None:
    session.execute(f"CREATE EXTENSION apex_saga VERSION '{version}'")
    session.execute(DOCUMENTS)
    session.execute("""
        INSERT INTO apex.saga (id, pipeline, state, relation, key, xids, steps, failed_step, error_type, native_code, error)
          VALUES ('00000000-0000-0000-0000-00000000000a', 'default', 'parked', 'documents', '[1]', '{7}', '{}', 'write_qdrant', 'permanent', 'X', 'wrong');
        INSERT INTO apex.saga_row VALUES ('00000000-0000-0000-0000-00000000000a', 'documents', '[1]', 1, 5, 4, '{"id": 1}', '\\x0000803f00000040');
        UPDATE apex.pipeline SET epoch = 7;
    """)
    kept = """SELECT (SELECT jsonb_agg(spec) FROM apex.mapping), (SELECT epoch FROM apex.pipeline), (SELECT last_value FROM apex.outbox_seq WHERE is_called),
                     (SELECT jsonb_agg(jsonb_strip_nulls(to_jsonb(f) - 'created_at')) FROM apex.failed_sagas f), (SELECT jsonb_agg(to_jsonb(r)) FROM apex.saga_row r)"""
    before = session.execute(kept).fetchone()
    session.execute("ALTER EXTENSION apex_saga UPDATE")
    after = session.execute(kept).fetchone()
    assert after == before
    session.execute("INSERT INTO documents VALUES (2, 'after the upgrade', '{1,2}')")
    assert session.execute("SELECT op, key, after FROM apex.outbox").fetchall() == [("I", [2], {"id": 2, "title": "after the upgrade"})]


@pytest.mark.parametrize("version", RELEASED)
def test_an_upgrade_makes_the_triggers_of_truncate(session: psycopg.Connection, version: str) -> None:
    session.execute(f"CREATE EXTENSION apex_saga VERSION '{version}'")
    session.execute(DOCUMENTS)
    session.execute("""
        CREATE TABLE visits (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10);
        SELECT apex.attach('visits', apex.graph('Visit'));
    """)
    session.execute("ALTER EXTENSION apex_saga UPDATE")
    session.execute("INSERT INTO visits VALUES (1)")
    session.execute("TRUNCATE visits_1")
    session.execute("TRUNCATE documents, visits")
    events = session.execute("SELECT op, relation::regclass::text, key FROM apex.outbox ORDER BY seq").fetchall()
    assert events == [("I", "visits", [1]), ("D", "visits", [1]), ("T", "documents", []), ("T", "visits", [])]


@pytest.mark.parametrize("version", RELEASED)
def test_an_upgrade_leaves_the_sidecars_rights_in_dumps_and_a_second_grant_gives_those_of_now(
    session: psycopg.Connection, version: str
) -> None:
    session.execute(f"CREATE EXTENSION apex_saga VERSION '{version}'")
    session.execute(f"SELECT apex.grant_sidecar('{SIDECAR_ROLE}')")
    session.execute("ALTER EXTENSION apex_saga UPDATE")
    # A dump has the rights that differ from these.
    taken = "SELECT objoid::regproc::text FROM pg_init_privs WHERE initprivs::text LIKE %s"
    assert session.execute(taken, [f"%{SIDECAR_ROLE}%"]).fetchall() == []
    lead = "SELECT has_function_privilege(%s, 'apex.lead(text, text, int)', 'EXECUTE')"
    assert session.execute(lead, [SIDECAR_ROLE]).fetchone() == (True,)
    session.execute(f"SELECT apex.grant_sidecar('{SIDECAR_ROLE}')")
    session.execute(f"SET ROLE {SIDECAR_ROLE}")
    epoch = session.execute("SELECT epoch FROM apex.lead('default', 'upgraded', 1500)").fetchone()[0]
    assert session.execute("SELECT * FROM apex.read_piece('default', %s, 0, 10)", [epoch]).fetchall() == []
    session.execute("SELECT * FROM apex.backfill_step('default', %s, 10)", [epoch])
    assert session.execute("SELECT count(*) FROM apex.outbox").fetchone() == (0,)
    session.execute("RESET ROLE")


@pytest.mark.parametrize("version", RELEASED)
def test_an_upgrade_waits_for_what_the_old_outbox_still_holds(session: psycopg.Connection, version: str) -> None:
    session.execute(f"CREATE EXTENSION apex_saga VERSION '{version}'")
    session.execute(DOCUMENTS)
    session.execute("INSERT INTO documents VALUES (1, 'before the upgrade', '{1,2}')")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not delivered yet"):
        session.execute("ALTER EXTENSION apex_saga UPDATE")
    assert session.execute("SELECT extversion FROM pg_extension WHERE extname = 'apex_saga'").fetchone() == (version,)


@pytest.mark.parametrize("version", RELEASED)
def test_the_library_serves_the_tables_of_a_released_version(session: psycopg.Connection, version: str) -> None:
    """Between the restart with the new library and ALTER EXTENSION, which lets the old outbox be read to its end."""
    session.execute(f"CREATE EXTENSION apex_saga VERSION '{version}'")
    session.execute(DOCUMENTS)
    with session.transaction():
        session.execute("INSERT INTO documents VALUES (1, 'one', '{1,2}'), (2, 'two', NULL)")
        session.execute("UPDATE documents SET title = 'again' WHERE id = 1")
    deleted = session.execute("SELECT apex.refresh('documents', '7')").fetchone()[0]
    events = session.execute("SELECT seq, op, key, after, octet_length(embedding) FROM apex.outbox ORDER BY seq").fetchall()
    assert [event[1:] for event in events] == [
        ("I", [1], {"id": 1, "title": "one"}, 8),
        ("I", [2], {"id": 2, "title": "two"}, None),
        ("U", [1], {"id": 1, "title": "again"}, 8),
        ("D", [7], None, None),
    ]
    assert events[-1][0] == deleted
    epoch = session.execute("SELECT epoch FROM apex.lead('default', 'upgrading', 60000)").fetchone()[0]
    read = session.execute("SELECT max(seq), count(*) FROM apex.read_piece('default', %s, 0, 100)", [epoch]).fetchone()
    assert read == (deleted, 4)
    session.execute("SELECT apex.checkpoint('default', %s, %s, '[]', true)", [epoch, deleted])
    with session.transaction():
        session.execute("UPDATE documents SET title = 'between' WHERE id = 2")
        session.execute("ALTER EXTENSION apex_saga UPDATE")
        session.execute("UPDATE documents SET title = 'new' WHERE id = 2")
    after = session.execute("SELECT seq > %s, before ->> 'title', after ->> 'title' FROM apex.outbox ORDER BY seq", [deleted]).fetchall()
    assert after == [(True, "two", "between"), (True, "between", "new")]
