"""What bounds the cache: redis.keys_max, beyond which the sidecar adds no key and nothing is stale all the same."""

import json

from command import apex
from world import World

DOCUMENTS = """
CREATE TABLE documents (id bigint PRIMARY KEY, title text);
SELECT apex.attach('documents', cache => apex.cache('document', mode => '{mode}', columns => ARRAY['title'], invalidate => ARRAY['query:*{{id}}*']));
INSERT INTO documents SELECT n, 'first' FROM generate_series(1, 20) n;
"""
KEYS_MAX = 8


def limited(world: World, mode: str) -> World:
    world.sidecar = world.another_sidecar({"APEX_REDIS_KEYS_MAX": str(KEYS_MAX)})
    world.sidecar.start()
    world.pg.execute(DOCUMENTS.format(mode=mode))
    world.wait_synced()
    return world


def titles(world: World) -> set[str]:
    """Of the entries in Redis."""
    return {json.loads(world.redis.get(key))["title"] for key in world.redis.scan_iter("doc:*")}


def read_all(world: World) -> set[str]:
    """As the API answers for every row."""
    answers = [world.sidecar.get(f"/api/v1/cache/document/{number}") for number in range(1, 21)]
    assert {status for status, _ in answers} == {200}
    return {json.loads(text)["title"] for _, text in answers}


def test_no_more_entries_are_written_than_keys_max_allows_and_none_is_stale(quiet_world: World) -> None:
    world = limited(quiet_world, "write")
    assert world.redis.dbsize() == KEYS_MAX and titles(world) == {"first"}
    assert read_all(world) == {"first"} and world.redis.dbsize() == KEYS_MAX
    world.sql("UPDATE documents SET title = 'second'")
    world.wait_synced()
    assert titles(world) == {"second"} and read_all(world) == {"second"} and world.redis.dbsize() <= KEYS_MAX


def test_readers_fill_no_more_entries_than_keys_max_allows(quiet_world: World) -> None:
    world = limited(quiet_world, "invalidate")
    assert read_all(world) == {"first"}
    assert titles(world) == {"first"} and world.redis.dbsize() == KEYS_MAX
    assert world.metric("apex_cache_reads_total", result="bypass") == 20 - KEYS_MAX


def test_an_invalidation_is_carried_out_however_full_it_is(quiet_world: World) -> None:
    world = limited(quiet_world, "write")
    for number in range(100):
        world.redis.set(f"query:{number + 100}", "an application's own")
        world.redis.set(f"other:{number}", "an application's own")
    world.sql("UPDATE documents SET title = 'second'")
    world.wait_synced()
    assert titles(world) <= {"second"} and read_all(world) == {"second"}
    # Every id from 1 to 20 is in some of the names.
    left = {int(key.removeprefix("query:")) for key in world.redis.scan_iter("query:*")}
    assert not any(str(number) in str(each) for each in left for number in range(1, 21))
    world.sql("DELETE FROM documents")
    world.wait_synced()
    assert titles(world) == set() and world.redis.exists("other:1")


def test_doctor_status_and_metrics_say_that_it_is_reached(quiet_world: World) -> None:
    world = limited(quiet_world, "write")
    assert world.metric("apex_cache_keys_max") == KEYS_MAX
    variables = world.sidecar.variables
    assert json.loads(apex("status", "--cache", "--json", variables=variables).stdout)["keys_max"] == KEYS_MAX
    assert f"none are added beyond {KEYS_MAX}" in apex("status", "--cache", variables=variables).stdout
    assert f"beyond {KEYS_MAX} the sidecar adds none" in apex("doctor", variables=variables).stdout
    verified = apex("verify", variables=variables)
    assert verified.returncode == 0, verified.stdout
    world.redis.flushall()
    assert f"the sidecar adds some up to {KEYS_MAX}" in apex("doctor", variables=variables).stdout
