"""TRUNCATE of attached tables: the stores lose the rows and get what comes after, whatever happens in between (rule E9)."""

import contextlib
from collections.abc import Callable, Iterator

import library
import pytest
from command import apex
from gated import Gated
from subscriber import Subscriber
from world import World

SHELF = """
    INSERT INTO authors (name) VALUES ('Ann'), ('Bob');
    INSERT INTO documents (title, author_id, embedding)
      SELECT 'about ' || n, (SELECT id FROM authors ORDER BY name LIMIT 1), ARRAY[n, 1, 0, 0] FROM generate_series(1, 30) n;
    INSERT INTO chunks SELECT row_number() OVER (), id, 'part of ' || title, embedding FROM documents;
    INSERT INTO cites SELECT row_number() OVER (), a.id, b.id, 7 FROM documents a, documents b WHERE a.title < b.title AND b.title < 'about 2';
"""

# Everything in one transaction: rows the stores know and rows they do not, before the TRUNCATE and after it.
EMPTIED = """
    UPDATE documents SET title = title || '!' WHERE title < 'about 2';
    INSERT INTO documents (title, embedding) VALUES ('never seen', '{1,2,3,4}');
    TRUNCATE documents CASCADE;
    UPDATE authors SET name = 'Anne' WHERE name = 'Ann';
    INSERT INTO documents (title, author_id, embedding) SELECT 'after', id, '{4,3,2,1}' FROM authors WHERE name = 'Anne';
    INSERT INTO chunks SELECT 1, id, 'part of after', embedding FROM documents;
"""


@pytest.fixture
def shelf(world: World) -> World:
    library.create(world)
    world.pg.execute(SHELF)
    world.wait_synced()
    assert library.differences(world) == []
    return world


def test_every_store_loses_the_rows_and_gets_those_written_after_in_the_same_transaction(shelf: World) -> None:
    shelf.redis.set(f"query:about {shelf.value('SELECT id FROM documents LIMIT 1')}", "a result")
    shelf.redis.set("query:about nothing", "a result")
    with contextlib.closing(Subscriber(shelf.redis)) as subscriber:
        shelf.commit(EMPTIED)
        shelf.wait_synced()
        heard = subscriber.heard()
    assert library.differences(shelf) == []
    assert shelf.redis.keys("query:*") == ["query:about nothing"]
    assert "document_truncated" in [event["event"] for event in heard]
    shelf.sql("TRUNCATE authors CASCADE")
    shelf.wait_synced()
    assert library.differences(shelf) == []
    assert shelf.cypher("MATCH (n) WHERE NOT n:_ApexPipeline RETURN count(n) AS n") == [{"n": 0}]
    verified = apex("verify", variables=shelf.sidecar.variables, seconds=90)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_truncate_that_is_rolled_back_takes_nothing(shelf: World) -> None:
    with pytest.raises(ZeroDivisionError), shelf.pg.transaction():
        shelf.pg.execute(EMPTIED)
        raise ZeroDivisionError
    shelf.sql("UPDATE documents SET views = 1")
    shelf.wait_synced()
    assert library.differences(shelf) == []


def test_what_was_parked_of_the_table_is_no_longer(shelf: World) -> None:
    shelf.commit("INSERT INTO chunks SELECT 99, id, 'no vector', '{NaN,1,2,3}' FROM documents LIMIT 1")
    shelf.wait_synced(expect=None)
    assert len(shelf.parked()) == 1
    shelf.sql("TRUNCATE chunks")
    shelf.wait_synced()
    assert shelf.parked() == []
    assert library.differences(shelf) == []


def test_partitions_alone_and_together(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE visits (id bigint, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE visits_01 PARTITION OF visits FOR VALUES FROM ('2022-01-01') TO ('2022-02-01');
        CREATE TABLE visits_02 PARTITION OF visits FOR VALUES FROM ('2022-02-01') TO ('2022-03-01');
        SELECT apex.attach('visits', graph => apex.graph('Visit', ARRAY['note']));
        INSERT INTO visits SELECT n, day, 'of ' || day FROM generate_series(1, 20) n, (VALUES (date '2022-01-05'), ('2022-02-05')) days(day);
    """)
    world.wait_synced()
    world.sql("TRUNCATE visits_01")
    world.wait_synced()
    assert {node["note"] for node in world.nodes("Visit")} == {"of 2022-02-05"}
    world.commit("TRUNCATE visits", "INSERT INTO visits VALUES (1, '2022-01-05', 'anew')")
    world.wait_synced()
    assert [node["note"] for node in world.nodes("Visit")] == ["anew"]


def test_a_table_that_is_truncated_while_it_is_sent_for_the_first_time(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE items (id int PRIMARY KEY, name text);
        INSERT INTO items SELECT n, 'n' || n FROM generate_series(1, 20000) n;
        SELECT apex.attach('items', apex.graph('Item', ARRAY['name']), backfill => true);
    """)
    world.commit("TRUNCATE items", "INSERT INTO items VALUES (7, 'after')")
    world.wait_synced()
    assert [(node["id"], node["name"]) for node in world.nodes("Item")] == [(7, "after")]


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    library.create(quiet_world)
    it = Gated(quiet_world)
    it.sidecar.start()
    quiet_world.pg.execute(SHELF)
    quiet_world.wait_synced()
    yield it
    it.sidecar.kill()
    it.close()


def held_at(*stores: str) -> Callable[[Gated], None]:
    def reach(gated: Gated) -> None:
        gated.hold(*stores)
        gated.world.commit(EMPTIED)
        gated.wait_held(stores[0])

    return reach


def before_the_checkpoint(gated: Gated) -> None:
    gated.hold_at("apex.checkpoint")
    gated.world.commit(EMPTIED)
    gated.wait_held("postgres")


CRASHES = {
    "before any store": held_at("neo4j", "qdrant", "redis"),
    "before Qdrant": held_at("qdrant", "redis"),
    "before Redis": held_at("redis"),
    "before the checkpoint": before_the_checkpoint,
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES.keys())
def test_a_killed_sidecar_leaves_all_stores_equal_after_its_restart(gated: Gated, crash: Callable[[Gated], None]) -> None:
    crash(gated)
    gated.kill_and_recover()
    gated.world.wait_synced()
    assert library.differences(gated.world) == []
    assert gated.world.parked() == []
