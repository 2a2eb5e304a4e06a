"""Warming by hand and after Redis has lost everything, and what doctor says of Redis's memory."""

import time

import pytest
from command import apex
from stores import SIDECAR_ROLE
from world import World, wait_until


@pytest.fixture
def documents(world: World) -> World:
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY, title text);
        SELECT apex.attach('documents', cache => apex.cache('document', columns => ARRAY['title']));
        INSERT INTO documents SELECT n, 'title ' || n FROM generate_series(1, 50) n;
    """)
    world.wait_synced()
    return world


def entries(world: World) -> set[int]:
    return {int(key.removeprefix("doc:")) for key in world.redis.scan_iter("doc:*")}


def warm(world: World, *arguments: str) -> str:
    done = apex("warm", "documents", *arguments, variables=world.sidecar.variables)
    assert done.returncode == 0, done
    return done.stdout


def test_warm_reads_the_first_rows_into_the_cache(documents: World) -> None:
    assert warm(documents, "--limit", "20") == "20 rows of public.documents read into the cache, 0 were there\n"
    assert entries(documents) == set(range(1, 21))
    assert warm(documents) == "30 rows of public.documents read into the cache, 20 were there\n"
    assert entries(documents) == set(range(1, 51))


def test_warm_takes_a_condition_with_the_rights_of_its_own_role(documents: World) -> None:
    refused = apex("warm", "documents", "--where", "id > 40", variables=documents.sidecar.variables)
    assert refused.returncode == 1 and "permission denied" in refused.stderr
    documents.sql(f"GRANT SELECT, DELETE ON documents TO {SIDECAR_ROLE}")
    warm(documents, "--where", "title LIKE 'title 4%' -- all of them", "--limit", "5")
    assert len(entries(documents)) == 5
    warm(documents, "--where", "title LIKE 'title 4%'")
    assert entries(documents) == {4, *range(40, 50)}
    bad = apex("warm", "documents", "--where", "nothing = 1", variables=documents.sidecar.variables)
    assert bad.returncode == 1 and "nothing" in bad.stderr


def test_warm_keeps_to_its_rate(documents: World) -> None:
    started = time.monotonic()
    warm(documents, "--limit", "20", "--rate", "20")
    assert time.monotonic() - started > 0.9


def test_warm_says_what_it_cannot(documents: World) -> None:
    variables = documents.sidecar.variables
    assert "no table nothing" in apex("warm", "nothing", variables=variables).stderr
    documents.pg.execute("CREATE TABLE plain (id bigint PRIMARY KEY); SELECT apex.attach('plain', graph => apex.graph('Plain'))")
    assert "no cache entries" in apex("warm", "plain", variables=variables).stderr
    assert apex("warm", "documents", "--limit", "0", variables=variables).returncode == 2


def test_the_most_read_entries_come_back_after_a_flush(documents: World) -> None:
    for key in (7, 8, 9):
        assert documents.sidecar.get(f"/api/v1/cache/document/{key}")[0] == 200
    # Nothing can have been lost before the sidecar's first look, which asks for INFO twice.
    looks = [documents.redis.info("commandstats")["cmdstat_info"]["calls"]]

    def looked() -> bool:
        looks.append(documents.redis.info("commandstats")["cmdstat_info"]["calls"])
        return looks[-1] - looks[0] - (len(looks) - 1) >= 4

    wait_until(looked)
    documents.redis.flushall()
    wait_until(lambda: entries(documents) == {7, 8, 9})


def test_doctor_says_what_becomes_of_the_cache_when_memory_is_full(documents: World) -> None:
    def doctor() -> str:
        return apex("doctor", variables=documents.sidecar.variables).stdout

    before = documents.redis.config_get("maxmemory*")
    try:
        assert "has no limit" in doctor()
        documents.redis.config_set("maxmemory", "500mb")
        documents.redis.config_set("maxmemory-policy", "noeviction")
        assert "evicts nothing" in doctor()
        documents.redis.config_set("maxmemory-policy", "allkeys-lru")
        assert "then it evicts any keys (allkeys-lru)" in doctor()
        documents.redis.config_set("maxmemory-policy", "volatile-lru")
        assert "evicts keys that have a time to live (volatile-lru)" in doctor()
        documents.sql("SELECT apex.alter('documents', cache => apex.cache('document', mode => 'write', columns => ARRAY['title']))")
        assert "never entries of public.documents" in doctor()
        assert documents.metric("apex_cache_memory_limit_bytes") == 500 * 1024 * 1024
    finally:
        documents.redis.config_set("maxmemory", before["maxmemory"])
        documents.redis.config_set("maxmemory-policy", before["maxmemory-policy"])
