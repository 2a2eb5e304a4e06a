"""Tags: what is registered under a row's tag vanishes with it, and no late fill brings it back."""

import concurrent.futures
import json
import random

import pytest
from cache_library import Cache, lease_key
from world import World, wait_until

DOCUMENTS = """
CREATE TABLE documents (id bigint PRIMARY KEY, title text, user_id text);
SELECT apex.attach('documents', cache => apex.cache('document', invalidate => '{}', tags => ARRAY['doc:{id}', 'user:{user_id}']));
INSERT INTO documents SELECT n, 'title ' || n, 'u' || n % 2 FROM generate_series(1, 6) n;
"""


@pytest.fixture
def documents(world: World) -> World:
    world.pg.execute(DOCUMENTS)
    world.wait_synced()
    return world


def register(world: World, key: str, tags: list[str], value: str = "result", seconds: int = 300) -> None:
    assert Cache(world.redis).get_tagged(key, lambda: (value, tags), seconds) == value
    assert world.redis.get(key) == value


def change(world: World, statement: str) -> None:
    world.sql(statement)
    world.wait_synced()


def test_a_result_vanishes_with_any_of_its_rows_and_others_stay(documents: World) -> None:
    register(documents, "query:a", ["doc:1", "doc:2"])
    register(documents, "query:b", ["doc:2"])
    register(documents, "query:c", ["doc:3"])
    change(documents, "UPDATE documents SET title = 'changed' WHERE id = 2")
    assert set(documents.redis.scan_iter("query:*")) == {"query:c"}
    change(documents, "DELETE FROM documents WHERE id = 3")
    assert set(documents.redis.scan_iter("query:*")) == set()


def test_old_and_new_tags_of_a_row_both_count(documents: World) -> None:
    register(documents, "query:before", ["user:u1"])
    register(documents, "query:after", ["user:new"])
    register(documents, "query:other", ["user:u0"])
    change(documents, "UPDATE documents SET user_id = 'new' WHERE id = 1")
    assert set(documents.redis.scan_iter("query:*")) == {"query:other"}


def test_a_result_of_what_was_read_before_a_change_is_not_kept(documents: World) -> None:
    cache = Cache(documents.redis)

    def slow() -> tuple[str, list[str]]:
        title = documents.value("SELECT title FROM documents WHERE id = 1")
        change(documents, "UPDATE documents SET title = 'changed' WHERE id = 1")
        return title, ["doc:1"]

    assert cache.get_tagged("query:a", slow, 300) == "title 1"
    assert documents.redis.get("query:a") is None
    register(documents, "query:a", ["doc:1"], "changed")


def test_a_truncate_takes_what_is_registered_under_any_row_of_the_table(documents: World) -> None:
    register(documents, "query:a", ["doc:1", "doc:2"])
    register(documents, "query:b", ["user:u1"])
    register(documents, "query:c", ["page:1"])
    change(documents, "TRUNCATE documents")
    assert set(documents.redis.scan_iter("query:*")) == {"query:c"}
    assert set(documents.redis.scan_iter("_apex:tag:*")) == {"_apex:tag:page:1"}


def test_a_result_of_what_was_read_before_a_truncate_is_not_kept(documents: World) -> None:
    def slow() -> tuple[str, list[str]]:
        title = documents.value("SELECT title FROM documents WHERE id = 1")
        change(documents, "TRUNCATE documents")
        return title, ["doc:1"]

    assert Cache(documents.redis).get_tagged("query:a", slow, 300) == "title 1"
    assert documents.redis.get("query:a") is None
    register(documents, "query:a", ["doc:1"], "nothing")


def test_whatever_was_evicted_meanwhile_nothing_stale_is_kept(documents: World) -> None:
    """Of the lease and the journal that it is compared with, either may be gone when the fill comes."""
    for evicted in (lease_key("query:a"), "_apex:journal"):

        def slow(gone: str = evicted) -> tuple[str, list[str]]:
            assert documents.redis.delete(gone) == 1
            if gone == "_apex:journal":  # somebody else begins a new one
                register(documents, "query:b", ["doc:5"])
            return "stale", ["doc:1"]

        Cache(documents.redis).get_tagged("query:a", slow, 300)
        assert documents.redis.get("query:a") is None, evicted


def test_a_tag_of_many_thousand_keys_goes_in_bounded_chunks_and_without_scan(documents: World) -> None:
    pipeline = documents.redis.pipeline(transaction=False)
    for number in range(12_345):
        pipeline.set(f"query:{number}", "x", ex=300)
        pipeline.zadd("_apex:tag:doc:1", {f"query:{number}": 9e15})
    pipeline.execute()
    documents.redis.config_resetstat()
    change(documents, "UPDATE documents SET title = 'changed' WHERE id = 1")
    assert set(documents.redis.scan_iter("query:*")) == set()
    ran = documents.redis.info("commandstats")
    before_our_own_look = ran["cmdstat_scan"]["calls"]
    assert before_our_own_look == documents.redis.info("commandstats")["cmdstat_scan"]["calls"]
    assert ran["cmdstat_zpopmin"]["calls"] >= 13


def test_expired_keys_are_pruned_and_a_set_goes_with_its_last_key(documents: World) -> None:
    register(documents, "query:short", ["doc:1"], seconds=2)
    wait_until(lambda: documents.redis.get("query:short") is None)
    register(documents, "query:long", ["doc:1"])
    assert documents.redis.zrange("_apex:tag:doc:1", 0, -1) == ["query:long"]
    assert 0 < documents.redis.pttl("_apex:tag:doc:1") <= 300_000
    register(documents, "query:last", ["doc:2"], seconds=2)
    wait_until(lambda: not documents.redis.exists("_apex:tag:doc:2"))


def test_the_prefix_is_put_before_tags_too(quiet_world: World) -> None:
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_REDIS_KEY_PREFIX": "{app}:"})
    world.sidecar.start()
    world.pg.execute(DOCUMENTS)
    world.wait_synced()
    Cache(world.redis, prefix="{app}:").get_tagged("{app}:query:a", lambda: ("x", ["doc:1"]), 300)
    register(world, "query:a", ["doc:1"])
    change(world, "UPDATE documents SET title = 'changed' WHERE id = 1")
    assert set(world.redis.scan_iter("*query:*")) == {"query:a"}


def test_invalidation_by_hand_counts_as_well(documents: World) -> None:
    register(documents, "query:a", ["doc:1"])
    documents.sql("SELECT apex.invalidate('document_updated', '1')")
    documents.wait_synced()
    assert documents.redis.get("query:a") is None


def test_many_readers_and_a_writer_leave_no_stale_result(documents: World) -> None:
    """A result is the titles of a few rows; afterwards each that is there is what the rows say."""
    readers: list[concurrent.futures.Future[None]] = []

    def titles(pg: object, ids: tuple[int, ...]) -> str:
        rows = pg.execute("SELECT id, title FROM documents WHERE id = ANY (%s) ORDER BY id", [list(ids)]).fetchall()
        return json.dumps(rows)

    def write() -> None:
        with documents.connect() as pg:
            number = 0
            while not all(reader.done() for reader in readers):
                pg.execute("UPDATE documents SET title = %s WHERE id = %s", [f"changed {number}", number % 6 + 1])
                number += 1

    def read(seed: int) -> None:
        dice = random.Random(seed)
        with documents.connect() as pg, documents.stack.redis.client() as client:
            cache = Cache(client)
            for number in range(200):
                ids = tuple(sorted(dice.sample(range(1, 7), 2)))
                cache.get_tagged(f"query:{ids}", lambda: (titles(pg, ids), [f"doc:{each}" for each in ids]), 300)
                if number % 31 == 0:
                    client.delete("_apex:journal")

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        readers += [pool.submit(read, seed) for seed in range(4)]
        pool.submit(write).result()
        for reader in readers:
            reader.result()
    documents.wait_synced()
    for key in documents.redis.scan_iter("query:*"):
        ids = tuple(json.loads(key.removeprefix("query:").replace("(", "[").replace(")", "]")))
        assert documents.redis.get(key) in (None, titles(documents.pg, ids)), key


@pytest.mark.parametrize("tag", ["doc:*", "doc:[{id}]", "doc:?"])
def test_a_tag_that_is_a_pattern_is_refused(world: World, tag: str) -> None:
    world.pg.execute("CREATE TABLE other (id bigint PRIMARY KEY)")
    with pytest.raises(Exception, match="is a pattern"):
        world.sql("SELECT apex.attach('other', cache => apex.cache('other', tags => ARRAY[%s]))", tag)
