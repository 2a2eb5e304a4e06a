"""kill -9 of the sidecar between any two steps, then a restart: all stores equal PostgreSQL, nothing is lost (G1-G3).

A gate in front of each store holds the conversation at the place in question, so the kill is exact and needs no luck.
"""

from collections.abc import Callable, Iterator

import library
import pytest
from gated import Gated
from world import World, wait_until


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    library.create(quiet_world)
    it = Gated(quiet_world)
    it.sidecar.start()
    yield it
    it.sidecar.kill()
    it.close()


def write(world: World) -> None:
    """Every kind of change, on rows the stores know and on rows they do not."""
    world.pg.execute("""
        INSERT INTO authors (name) VALUES ('Ann'), ('Bob');
        INSERT INTO documents (title, author_id, embedding)
          SELECT 'about ' || n, (SELECT id FROM authors ORDER BY name LIMIT 1), ARRAY[n, 1, 0, 0] FROM generate_series(1, 9) n;
        INSERT INTO chunks SELECT row_number() OVER (), id, 'part of ' || title, embedding FROM documents;
        INSERT INTO cites SELECT row_number() OVER (), a.id, b.id, 7 FROM documents a, documents b WHERE a.title < b.title;
    """)


def change(world: World) -> None:
    with world.pg.transaction():
        world.pg.execute("UPDATE documents SET title = title || '!', views = views + 1 WHERE title < 'about 5'")
        world.pg.execute("UPDATE documents SET author_id = (SELECT id FROM authors WHERE name = 'Bob') WHERE title > 'about 3'")
        world.pg.execute("DELETE FROM documents WHERE title IN ('about 7', 'about 8')")
        world.pg.execute("UPDATE cites SET page = 8 WHERE id % 2 = 0")
        world.pg.execute("INSERT INTO documents (title, embedding) VALUES ('new', '{1,2,3,4}')")


def steps_of(*held: str, then_sent_to: str) -> Callable[[Gated], None]:
    """Holds some stores, changes rows, and waits until the conversation stands at one of them."""

    def reach(gated: Gated) -> None:
        gated.hold(*held)
        change(gated.world)
        gated.wait_held(then_sent_to)

    return reach


def neo4j_written(gated: Gated) -> None:
    before = fence_position(gated.world)
    gated.hold("qdrant", "redis")
    change(gated.world)
    wait_until(lambda: fence_position(gated.world) > before, message="Neo4j was not written")


def qdrant_written(gated: Gated) -> None:
    gated.hold("neo4j", "redis")
    change(gated.world)
    wait_until(
        lambda: "new" in [record.payload["title"] for record in gated.world.qdrant.scroll("documents", limit=100)[0]],
        message="Qdrant was not written",
    )


def both_written(gated: Gated) -> None:
    before = fence_position(gated.world)
    gated.hold("redis")
    change(gated.world)
    wait_until(
        lambda: fence_position(gated.world) > before
        and "new" in [record.payload["title"] for record in gated.world.qdrant.scroll("documents", limit=100)[0]],
        message="Neo4j and Qdrant were not written",
    )


def before_checkpoint(gated: Gated) -> None:
    gated.hold_at("apex.checkpoint")
    change(gated.world)
    gated.wait_held("postgres")


def fence_position(world: World) -> int:
    return world.cypher("MATCH (p:_ApexPipeline) RETURN coalesce(max(p.position), 0) AS position")[0]["position"]


CRASHES = {
    "after the piece was handed out, before any store": steps_of("neo4j", "qdrant", "redis", then_sent_to="neo4j"),
    "after write_neo4j, before write_qdrant": neo4j_written,
    "after write_qdrant, before write_neo4j": qdrant_written,
    "after write_neo4j and write_qdrant, before write_redis": both_written,
    "after write_redis, before the checkpoint": before_checkpoint,
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES.keys())
def test_a_killed_sidecar_leaves_all_stores_equal_after_its_restart(gated: Gated, crash: Callable[[Gated], None]) -> None:
    write(gated.world)
    gated.world.wait_synced()
    assert library.differences(gated.world) == []
    crash(gated)
    gated.kill_and_recover()
    gated.world.wait_synced()
    assert library.differences(gated.world) == []
    assert gated.world.parked() == []


def intent_recorded(gated: Gated) -> None:
    """The intent is in PostgreSQL, nothing has been undone."""
    gated.gates["postgres"].when(b"apex.record_failure", lambda: gated.hold("neo4j", "qdrant"))
    poison(gated.world)
    gated.wait_held("qdrant")


def first_undo_done(gated: Gated) -> None:
    """Qdrant has been put back, Neo4j has not."""
    gated.gates["postgres"].when(b"apex.record_failure", lambda: gated.hold("neo4j"))
    poison(gated.world)
    gated.wait_held("neo4j")


def undone(gated: Gated) -> None:
    """Every store has been put back, the saga is not parked yet."""
    gated.hold_at("apex.settle_failure")
    poison(gated.world)
    gated.wait_held("postgres")


def poison(world: World) -> None:
    """One document that Qdrant refuses, in one transaction with its chunk, beside one that it takes."""
    with world.pg.transaction():
        world.pg.execute("UPDATE documents SET title = 'poisoned', embedding = '{1,2,3}' WHERE title = 'about 1'")
        world.pg.execute("UPDATE chunks SET body = 'poisoned' WHERE body = 'part of about 1'")
    world.pg.execute("UPDATE documents SET title = 'a neighbour' WHERE title = 'about 2'")


CRASHES_IN_COMPENSATION = {
    "after the intent was recorded, before any undo": intent_recorded,
    "between two undos": first_undo_done,
    "after the undos, before the saga is parked": undone,
}


@pytest.mark.parametrize("crash", CRASHES_IN_COMPENSATION.values(), ids=CRASHES_IN_COMPENSATION.keys())
def test_a_killed_compensation_is_finished_after_the_restart(gated: Gated, crash: Callable[[Gated], None]) -> None:
    world = gated.world
    write(world)
    world.wait_synced()
    crash(gated)
    gated.kill_and_recover()
    wait_until(lambda: [saga["state"] for saga in world.rows("SELECT state FROM apex.saga")] == ["parked"])
    wait_until(lambda: world.nodes("Document", title="a neighbour"))
    world.wait_synced()

    # As PostgreSQL would be had the refused transaction never been.
    with world.pg.transaction(force_rollback=True):
        world.pg.execute("SET LOCAL session_replication_role = replica")
        world.pg.execute("UPDATE documents SET title = 'about 1' WHERE title = 'poisoned'")
        world.pg.execute("UPDATE chunks SET body = 'part of about 1' WHERE body = 'poisoned'")
        assert library.differences(world) == []

    world.pg.execute("UPDATE documents SET embedding = '{1,2,3,4}' WHERE title = 'poisoned'")
    world.pg.execute("UPDATE chunks SET body = body || '!' WHERE body = 'poisoned'")
    world.wait_synced()
    assert world.parked() == []
    assert library.differences(world) == []
