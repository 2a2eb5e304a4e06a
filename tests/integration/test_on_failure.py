"""What on_failure does after a saga was undone in every store: revert takes its rows back in PostgreSQL, call hands them to a function."""

from collections.abc import Iterator

import psycopg
import pytest
from gated import Gated
from world import World, wait_until

SCHEMA = """
    CREATE TABLE documents (id int PRIMARY KEY, title text, secret text, embedding real[]);
    SELECT apex.attach('documents', graph => apex.graph('Document', ARRAY['title']),
                       vector => apex.vector('documents', 'embedding', dimensions => 4, payload => ARRAY['title']),
                       cache => apex.cache('document', mode => 'write'), on_failure => {on_failure});
    INSERT INTO documents VALUES (1, 'first', 'kept', '{{1,2,3,4}}'), (2, 'second', 'kept', '{{4,3,2,1}}');
"""
HANDLER = """
    CREATE TABLE told (document int, error text);
    CREATE FUNCTION tell(saga uuid, relation regclass, key jsonb, error text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN {body} END $$;
"""
REVERT = "'revert'"
CALL = "'call', handler => 'tell(uuid, regclass, jsonb, text)'"


@pytest.fixture
def reverting(world: World) -> World:
    world.pg.execute(SCHEMA.format(on_failure=REVERT))
    world.wait_synced()
    return world


def _attach_calling(world: World, body: str) -> None:
    world.pg.execute(HANDLER.format(body=body) + SCHEMA.format(on_failure=CALL))
    world.wait_synced()


def _title_everywhere(world: World, document: int) -> set[str | None]:
    node, point = world.node("Document", id=document), world.point("documents", document)
    return {
        world.value("SELECT max(title) FROM documents WHERE id = %s", document),
        node["title"] if node else None,
        point.payload["title"] if point else None,
    }


def test_a_refused_update_is_taken_back_everywhere(reverting: World) -> None:
    reverting.pg.execute("UPDATE documents SET title = 'poison', secret = 'lost', embedding = '{1}' WHERE id = 1")
    wait_until(lambda: reverting.value("SELECT secret FROM documents WHERE id = 1") == "kept")
    reverting.wait_synced()
    assert _title_everywhere(reverting, 1) == {"first"}
    assert reverting.sql("SELECT embedding FROM documents WHERE id = 1") == [[1.0, 2.0, 3.0, 4.0]]
    wait_until(lambda: reverting.parked() == [])


def test_a_refused_insert_is_taken_back_and_its_neighbours_stay(reverting: World) -> None:
    reverting.pg.execute("INSERT INTO documents VALUES (3, 'good', NULL, '{1,1,1,1}'), (4, 'poison', NULL, '{1}'), (5, 'good', NULL, NULL)")
    wait_until(lambda: reverting.sql("SELECT id FROM documents ORDER BY id") == [1, 2, 3, 5])
    reverting.wait_synced()
    assert [bool(reverting.node("Document", id=document)) for document in (3, 4, 5)] == [True, False, True]
    wait_until(lambda: reverting.parked() == [])


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    quiet_world.pg.execute(SCHEMA.format(on_failure=REVERT))
    it = Gated(quiet_world, {"APEX_ENGINE_STORE_TIMEOUT_MS": "20000"})
    it.sidecar.start()
    quiet_world.wait_synced()
    yield it
    it.sidecar.kill()
    it.close()


def _fail_up_to_the_settlement(gated: Gated) -> None:
    gated.hold_at("apex.settle_failure")
    gated.world.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE id = 1")
    gated.wait_held("postgres")


def test_a_row_that_somebody_holds_is_only_parked_and_its_next_change_mends_it(gated: Gated) -> None:
    world = gated.world
    _fail_up_to_the_settlement(gated)
    with world.connect() as other, other.transaction():
        other.execute("SELECT FROM documents WHERE id = 1 FOR UPDATE")
        gated.open()
        parked = wait_until(lambda: [saga for saga in world.parked() if saga["resolution_error"]])
        assert parked[0]["resolution"] is None and "could not obtain lock" in parked[0]["resolution_error"]
    assert world.value("SELECT title FROM documents WHERE id = 1") == "poison"
    world.pg.execute("UPDATE documents SET title = 'mended', embedding = '{1,1,1,1}' WHERE id = 1")
    world.wait_synced()
    assert _title_everywhere(world, 1) == {"mended"}
    wait_until(lambda: world.parked() == [])


def test_a_revert_that_a_dead_leader_left_undone_is_carried_out_by_the_next(gated: Gated) -> None:
    world = gated.world
    _fail_up_to_the_settlement(gated)
    gated.sidecar.kill()
    assert world.value("SELECT title FROM documents WHERE id = 1") == "poison"
    assert world.sql("SELECT state FROM apex.sagas") == ["compensating"]
    for gate in gated.gates.values():
        gate.cut()
        gate.open()
    gated.sidecar.start()
    wait_until(lambda: world.value("SELECT title FROM documents WHERE id = 1") == "first")
    world.wait_synced()
    assert _title_everywhere(world, 1) == {"first"}


def test_a_later_change_is_not_taken_back(reverting: World) -> None:
    """Both are committed before the sidecar sees either, in one batch and as one row's newest image."""
    reverting.sidecar.stop()
    reverting.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE id = 1")
    reverting.pg.execute("UPDATE documents SET title = 'later', embedding = '{1,1,1,1}' WHERE id = 1")
    reverting.sidecar.start()
    reverting.wait_synced()
    assert _title_everywhere(reverting, 1) == {"later"}
    assert reverting.parked() == []


def test_a_handler_is_told_and_what_it_writes_is_delivered(world: World) -> None:
    _attach_calling(world, """
        INSERT INTO public.told VALUES ((key ->> 0)::int, error);
        UPDATE public.documents SET title = title || ', mended', embedding = NULL WHERE id = (key ->> 0)::int;
    """)
    world.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE id = 1")
    wait_until(lambda: world.value("SELECT count(*) FROM told"))
    world.wait_synced()
    document, error = world.sql("SELECT * FROM told")[0]
    assert document == 1 and error.startswith("write_qdrant: ") and "dimension" in error
    assert world.node("Document", id=1)["title"] == "poison, mended"
    wait_until(lambda: world.parked() == [])


@pytest.fixture
def impatient(quiet_world: World) -> World:
    quiet_world.sidecar = quiet_world.another_sidecar({"APEX_ENGINE_STORE_TIMEOUT_MS": "3000"})
    quiet_world.sidecar.start()
    return quiet_world


def test_a_handler_that_never_returns_holds_nobody_up(impatient: World) -> None:
    _attach_calling(impatient, "PERFORM pg_catalog.pg_sleep(3600);")
    impatient.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE id = 1")
    parked = wait_until(lambda: [saga for saga in impatient.parked() if saga["resolution_error"]])
    assert "statement timeout" in parked[0]["resolution_error"]
    impatient.pg.execute("UPDATE documents SET title = 'goes on' WHERE id = 2")
    impatient.wait_synced()
    assert impatient.node("Document", id=2)["title"] == "goes on"
    assert impatient.value("SELECT epoch FROM apex.pipeline") == 1
