"""A saga that fails for good leaves every store as it was, is parked with the store's words, and its neighbours go on (G3)."""

import library
import pytest
from world import World, wait_until


@pytest.fixture
def shelf(world: World) -> World:
    library.create(world)
    world.pg.execute("""
        INSERT INTO authors (name) VALUES ('Ann');
        INSERT INTO documents (title, author_id, embedding)
          SELECT 'about ' || n, (SELECT id FROM authors), ARRAY[n, 1, 0, 0] FROM generate_series(1, 9) n;
    """)
    world.wait_synced()
    return world


def wait_parked(world: World, count: int = 1) -> list[dict]:
    """All of them, once there are as many."""

    def parked() -> list[dict] | None:
        found = [saga for saga in world.parked() if saga["state"] == "parked"]
        return found if len(found) >= count else None

    return wait_until(parked)


def contents(world: World, title_before: str) -> tuple:
    document = world.value("SELECT id::text FROM documents WHERE title = %s", title_before)
    return document, world.node("Document", id=document), world.point("documents", document)


def test_a_refused_insert_leaves_no_trace_and_its_neighbours_arrive(shelf: World) -> None:
    shelf.pg.execute("""
        INSERT INTO documents (title, embedding) VALUES ('good 1', '{1,2,3,4}'), ('poison', '{1,2,3}'), ('good 2', '{4,3,2,1}')
    """)
    parked = wait_parked(shelf)
    assert len(parked) == 1
    assert parked[0]["failed_step"] == "write_qdrant"
    assert "dimension" in parked[0]["error"].lower() and "4" in parked[0]["error"] and "3" in parked[0]["error"]
    wait_until(lambda: shelf.nodes("Document", title="good 1") and shelf.nodes("Document", title="good 2"))
    assert shelf.nodes("Document", title="poison") == []
    poison = shelf.value("SELECT id::text FROM documents WHERE title = 'poison'")
    assert shelf.point("documents", poison) is None
    assert shelf.redis.get(f"doc:{poison}") is None


def test_a_poison_row_among_ten_thousand_is_found_and_all_others_arrive(shelf: World) -> None:
    writes = shelf.metric("apex_saga_step_duration_seconds_count", step_name="write_qdrant")
    shelf.pg.execute("""
        INSERT INTO documents (title, embedding)
          SELECT 'row ' || n, CASE n WHEN 7777 THEN '{1}' ELSE ARRAY[n, 1, 0, 0] END::real[] FROM generate_series(1, 10000) n
    """)
    shelf.wait_synced()
    assert [saga["failed_step"] for saga in wait_parked(shelf)] == ["write_qdrant"]
    assert shelf.nodes("Document", title="row 7777") == []
    assert shelf.cypher("MATCH (n:Document) RETURN count(n) AS n") == [{"n": 9 + 9999}]
    assert shelf.point_count("documents") == 9 + 9999
    # How many a search takes the engine's own test says; here they depend on how many rows this machine's Qdrant takes at once.
    assert shelf.metric("apex_saga_step_duration_seconds_count", step_name="write_qdrant") - writes < 1000


def test_a_refused_update_puts_every_store_back(shelf: World) -> None:
    document, node, point = contents(shelf, "about 3")
    shelf.pg.execute("UPDATE documents SET title = 'poison', author_id = NULL, embedding = '{1}' WHERE title = 'about 3'")
    wait_parked(shelf)
    after = shelf.node("Document", id=document)
    assert {**after, "_apex_seq": 0} == {**node, "_apex_seq": 0}
    assert (document, shelf.value("SELECT id::text FROM authors")) in shelf.relations("AUTHORED_BY")
    restored = shelf.point("documents", document)
    assert restored.vector == point.vector
    assert {**restored.payload, "_apex_seq": 0} == {**point.payload, "_apex_seq": 0}
    assert shelf.redis.get(f"doc:{document}") is None


def test_what_one_transaction_did_to_an_aggregate_fails_together(shelf: World) -> None:
    with shelf.pg.transaction():
        shelf.pg.execute("INSERT INTO chunks SELECT 1, id, 'fine in itself', '{1,2,3,4}' FROM documents WHERE title = 'about 2'")
        shelf.pg.execute("INSERT INTO chunks SELECT 2, id, 'poison', '{1}' FROM documents WHERE title = 'about 2'")
    wait_parked(shelf)
    assert shelf.nodes("Chunk") == []
    assert shelf.point_count("chunks") == 0


def test_the_next_update_supersedes_a_parked_row(shelf: World) -> None:
    shelf.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE title = 'about 4'")
    wait_parked(shelf)
    shelf.pg.execute("UPDATE documents SET title = 'mended', embedding = '{1,2,3,4}' WHERE title = 'poison'")
    shelf.wait_synced()
    wait_until(lambda: shelf.parked() == [])
    assert library.differences(shelf) == []


def test_a_second_failure_keeps_the_image_that_was_accepted_first(shelf: World) -> None:
    document, node, _ = contents(shelf, "about 5")
    for title in ("poison once", "poison twice"):
        shelf.pg.execute("UPDATE documents SET title = %s, embedding = '{1}' WHERE id = %s", [title, document])
        wait_until(lambda: shelf.value("SELECT count(*) FROM apex.saga_event e JOIN apex.saga s ON s.id = e.saga WHERE s.state = 'parked'"))
        wait_until(lambda: shelf.wait_synced(expect=None) and shelf.value("SELECT count(*) FROM apex.sagas") == 0)
    assert len(shelf.parked()) == 1
    assert shelf.node("Document", id=document)["title"] == node["title"]


def test_retry_sends_the_row_as_it_is_now(shelf: World) -> None:
    shelf.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE title = 'about 6'")
    saga = wait_parked(shelf)[0]
    with shelf.pg.transaction():
        # Mended behind the triggers' back, so that only the retry can send it.
        shelf.pg.execute("ALTER TABLE documents DISABLE TRIGGER USER")
        shelf.pg.execute("UPDATE documents SET embedding = '{1,2,3,4}' WHERE title = 'poison'")
        shelf.pg.execute("ALTER TABLE documents ENABLE TRIGGER USER")
    shelf.sql("SELECT apex.retry(%s)", saga["id"])
    shelf.wait_synced()
    wait_until(lambda: shelf.parked() == [])
    assert library.differences(shelf) == []


def test_retry_of_a_row_that_is_still_refused_parks_it_again(shelf: World) -> None:
    shelf.pg.execute("INSERT INTO documents (title, embedding) VALUES ('poison', '{1}')")
    saga = wait_parked(shelf)[0]
    shelf.sql("SELECT apex.retry(%s)", saga["id"])
    again = wait_until(lambda: [s for s in shelf.parked() if s["id"] != saga["id"] and s["state"] == "parked"])
    assert len(again) == 1 and len(shelf.parked()) == 1


def test_discard_forgets_the_saga_and_leaves_the_stores(shelf: World) -> None:
    document, node, _ = contents(shelf, "about 7")
    shelf.pg.execute("UPDATE documents SET embedding = '{1}' WHERE title = 'about 7'")
    saga = wait_parked(shelf)[0]
    shelf.sql("SELECT apex.discard(%s)", saga["id"])
    assert shelf.parked() == []
    assert shelf.node("Document", id=document)["title"] == node["title"]


def test_a_deleted_parked_row_is_settled_by_its_delete(shelf: World) -> None:
    shelf.pg.execute("INSERT INTO documents (title, embedding) VALUES ('poison', '{1}')")
    wait_parked(shelf)
    shelf.pg.execute("DELETE FROM documents WHERE title = 'poison'")
    shelf.wait_synced()
    wait_until(lambda: shelf.parked() == [])
    assert library.differences(shelf) == []


def test_a_store_that_refuses_everything_holds_and_parks_nothing(shelf: World) -> None:
    """The collection is gone: that is the store's fault, and the probe makes it anew."""
    shelf.qdrant.delete_collection("documents")
    shelf.pg.execute("UPDATE documents SET views = views + 1")
    shelf.wait_synced()
    assert shelf.parked() == []
    assert shelf.point_count("documents") == 9


def test_wait_synced_says_parked_for_a_parked_transaction(shelf: World) -> None:
    with shelf.pg.transaction():
        shelf.pg.execute("INSERT INTO documents (title, embedding) VALUES ('poison', '{1}')")
        position = shelf.value("SELECT apex.position()::text")
    result = shelf.pg.execute("CALL apex.wait_synced(%s::xid8, '60 s', NULL)", [position]).fetchone()[0]
    assert result == "parked"


def test_the_metrics_count_a_failed_saga_once_and_each_step_undone(shelf: World) -> None:
    before = shelf.metric("apex_saga_executions_total", status="failed")
    shelf.pg.execute("UPDATE documents SET embedding = '{1}' WHERE title = 'about 8'")
    wait_parked(shelf)
    # Counted one after the other.
    wait_until(lambda: shelf.metric("apex_saga_failure_reason_total", failed_step="write_qdrant", error_type="refused") == 1)
    assert shelf.metric("apex_saga_executions_total", status="failed") == before + 1
    for step in ("write_neo4j", "write_qdrant"):
        assert shelf.metric("apex_saga_compensation_total", step_name=step, status="compensated") == 1
