"""Invalidation by hand: if and only if the transaction commits, in order with its rows, below the prefix, with its event."""

from collections.abc import Iterator

import psycopg
import pytest
from subscriber import Subscriber
from world import World

PAGES = """
CREATE TABLE pages (id bigint PRIMARY KEY, title text);
SELECT apex.attach('pages', graph => apex.graph('Page', properties => ARRAY['title']), cache => apex.cache('page', columns => ARRAY['title']));
"""


@pytest.fixture
def pages(world: World) -> World:
    world.pg.execute(PAGES)
    return world


@pytest.fixture
def subscriber(pages: World) -> Iterator[Subscriber]:
    it = Subscriber(pages.redis)
    yield it
    it.close()


def put(world: World, *keys: str) -> None:
    for key in keys:
        world.redis.set(key, "computed by an application")


def keys(world: World) -> set[str]:
    return set(world.redis.scan_iter("*"))


def test_an_event_invalidates_the_usual_keys_and_is_announced(pages: World, subscriber: Subscriber) -> None:
    stale = ["doc:7", "doc:7:chunks", "query:about 7", "search:7"]
    put(pages, *stale, "doc:8", "query:8")
    pages.sql("SELECT apex.invalidate('document_updated', '7')")
    pages.wait_synced()
    assert keys(pages) == {"doc:8", "query:8"}
    heard = subscriber.heard()
    assert [(each["event"], each["document_id"], each["source"]) for each in heard] == [("document_updated", "7", "cache_service")]


@pytest.mark.parametrize("event", ["document_deleted", "entity_updated", "chunk_updated", "user_updated", "anything"])
def test_each_event_is_announced_by_its_name(pages: World, subscriber: Subscriber, event: str) -> None:
    pages.sql("SELECT apex.invalidate(%s, 'x')", event)
    pages.wait_synced()
    assert [each["event"] for each in subscriber.heard()] == [event]


def test_it_takes_effect_only_when_the_transaction_commits(pages: World) -> None:
    put(pages, "user:docs:u1", "query:u1", "query:all", "page:7")
    with pages.pg.transaction(force_rollback=True):
        pages.sql("SELECT apex.invalidate_user('u1'), apex.invalidate_query_cache('query:*'), apex.invalidate('page_updated', '7')")
    pages.wait_synced()
    assert keys(pages) == {"user:docs:u1", "query:u1", "query:all", "page:7"}
    pages.sql("SELECT apex.invalidate_user('u1')")
    pages.wait_synced()
    assert keys(pages) == {"query:all", "page:7"}
    pages.sql("SELECT apex.invalidate_query_cache('query:*'), apex.invalidate('page_updated', '7')")
    pages.wait_synced()
    assert keys(pages) == set()


def test_rows_of_the_same_transaction_arrive_as_ever(pages: World) -> None:
    put(pages, "query:x")
    pages.commit("INSERT INTO pages VALUES (1, 'one')", "SELECT apex.invalidate_query_cache('query:*')", "INSERT INTO pages VALUES (2, 'two')")
    pages.wait_synced()
    assert keys(pages) == set()
    assert {pages.node("Page", id=1)["title"], pages.node("Page", id=2)["title"]} == {"one", "two"}
    assert len(pages.nodes("Page")) == 2 and pages.parked() == []


def test_the_prefix_is_put_before_keys_and_patterns(quiet_world: World) -> None:
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_REDIS_KEY_PREFIX": "app[1]:"})
    world.sidecar.start()
    world.pg.execute(PAGES)
    put(world, "app[1]:page:7", "page:7", "app[1]:query:7", "query:7", "app1:query:7")
    world.sql("SELECT apex.invalidate('page_updated', '7'), apex.invalidate_query_cache('query:*')")
    world.wait_synced()
    assert keys(world) == {"page:7", "query:7", "app1:query:7"}


def test_an_id_of_pattern_characters_deletes_nothing_else(pages: World) -> None:
    put(pages, "query:of *", "query:other", "doc:*", "doc:1")
    pages.sql("SELECT apex.invalidate('document_updated', '*')")
    pages.wait_synced()
    assert keys(pages) == {"query:other", "doc:1"}


def test_a_lease_that_is_out_is_taken_back(pages: World) -> None:
    pages.redis.set("{doc:7}#lease", "token")
    pages.sql("SELECT apex.invalidate('document_updated', '7')")
    pages.wait_synced()
    assert keys(pages) == set()


def test_without_a_table_that_has_a_cache_it_says_so(world: World) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="no attached table has a cache"):
        world.sql("SELECT apex.invalidate('document_updated', '7')")
