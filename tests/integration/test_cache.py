"""The cache in Redis: entries with their time to live, invalidation by key and pattern, and the events that are announced."""

import datetime
import json
from collections.abc import Iterator

import pytest
from subscriber import Subscriber
from world import World, wait_until

DOCUMENTS = """
CREATE TABLE documents (id uuid PRIMARY KEY DEFAULT uuid7(), title text, user_id text, views int DEFAULT 0);
SELECT apex.attach('documents', cache => apex.cache(entity => 'document', mode => 'write', ttl => '1 hour'));
"""


@pytest.fixture
def documents(world: World) -> World:
    """Documents with the design's own keys and patterns: every default of apex.cache."""
    world.pg.execute(DOCUMENTS)
    return world


def insert(world: World, title: str = "first", user: str | None = "u1") -> str:
    row = world.value("INSERT INTO documents (title, user_id) VALUES (%s, %s) RETURNING id::text", title, user)
    world.wait_synced()
    return row


def change(world: World, statement: str, *arguments: object) -> None:
    world.sql(statement, *arguments)
    world.wait_synced()


def entry(world: World, key: str) -> dict | None:
    text = world.redis.get(key)
    return None if text is None else json.loads(text)


def put(world: World, *keys: str) -> None:
    """As an application fills its cache."""
    for key in keys:
        world.redis.set(key, "computed by an application")


def keys(world: World) -> set[str]:
    return set(world.redis.scan_iter("*"))


# Entries


def test_an_entry_is_the_row_as_json_with_its_version_first_and_its_ttl(documents: World) -> None:
    row = insert(documents)
    text = documents.redis.get(f"doc:{row}")
    assert text.startswith('{"_apex_seq":')
    held = json.loads(text)
    assert held.pop("_apex_seq") > 0
    assert held == {"id": row, "title": "first", "user_id": "u1", "views": 0}
    assert 3000 < documents.redis.ttl(f"doc:{row}") <= 3600


def test_an_update_writes_the_entry_anew_and_its_ttl_starts_again(documents: World) -> None:
    row = insert(documents)
    documents.redis.expire(f"doc:{row}", 60)
    change(documents, "UPDATE documents SET title = 'second'")
    assert entry(documents, f"doc:{row}")["title"] == "second"
    assert documents.redis.ttl(f"doc:{row}") > 3000


def test_a_delete_takes_the_entry_away(documents: World) -> None:
    row = insert(documents)
    change(documents, "DELETE FROM documents")
    assert entry(documents, f"doc:{row}") is None


def test_an_entry_expires_after_its_ttl_and_the_next_change_brings_it_back(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE sessions (id bigint PRIMARY KEY, state text);
        SELECT apex.attach('sessions', cache => apex.cache(entity => 'session', mode => 'write', ttl => '1 second'));
    """)
    change(world, "INSERT INTO sessions VALUES (1, 'open')")
    wait_until(lambda: entry(world, "session:1") is None, message="the entry did not expire")

    def brought_back() -> dict | None:
        """Looked for at once after each change: its second may be over before the next look."""
        change(world, "UPDATE sessions SET state = state || '!'")
        return entry(world, "session:1")

    assert wait_until(brought_back)["state"].startswith("open!")


def test_an_entry_without_ttl_stays(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE settings (name text PRIMARY KEY, value jsonb);
        SELECT apex.attach('settings', cache => apex.cache(entity => 'setting', mode => 'write', columns => ARRAY['value']));
    """)
    change(world, """INSERT INTO settings VALUES ('a b', '{"deep": [1, null]}')""")
    assert world.redis.ttl("setting:a b") == -1
    assert entry(world, "setting:a b")["value"] == {"deep": [1, None]}


def test_mode_invalidate_deletes_the_entry_that_an_application_wrote_and_writes_none(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY, title text);
        SELECT apex.attach('documents', cache => apex.cache(entity => 'document', columns => ARRAY['title']));
    """)
    for statement in ("INSERT INTO documents VALUES (1, 'x')", "UPDATE documents SET title = 'y'", "DELETE FROM documents"):
        put(world, "doc:1", "doc:10")
        change(world, statement)
        assert keys(world) == {"doc:10"}, statement


def test_an_entry_named_by_a_changed_column_moves_and_a_null_names_none(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE pages (id bigint PRIMARY KEY, slug text, body text);
        SELECT apex.attach('pages', cache => apex.cache('page', mode => 'write', entry => 'page:{slug}', invalidate => '{}'));
    """)
    change(world, "INSERT INTO pages VALUES (1, 'old', 'x')")
    change(world, "UPDATE pages SET slug = 'new'")
    assert keys(world) == {"page:new"}
    change(world, "UPDATE pages SET slug = NULL")
    assert keys(world) == set()


def test_a_prefix_is_put_before_entries_keys_and_patterns(quiet_world: World) -> None:
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_REDIS_KEY_PREFIX": "app[1]:"})
    world.sidecar.start()
    world.pg.execute(DOCUMENTS)
    row = insert(world)
    put(world, f"query:{row}", f"app[1]:query:about {row}", f"app[1]:doc:{row}:chunks", f"app1:query:about {row}")
    change(world, "UPDATE documents SET views = 1")
    assert keys(world) == {f"app[1]:doc:{row}", f"query:{row}", f"app1:query:about {row}"}


# Invalidation


def test_a_change_invalidates_every_default_key_and_pattern_of_the_row_and_nothing_else(documents: World) -> None:
    row, other = insert(documents), insert(documents, "other", "u2")
    stale = [f"doc:{row}:chunks", f"query:about {row} top 10", f"query:{row}", f"search:{row}:1"]
    stale += ["user:docs:u1", "query:u1:recent", "search:by u1"]
    kept = [f"doc:{other}:chunks", f"query:about {other}", f"search:{other}", "user:docs:u2", "query:u2:recent"]
    kept += [f"squery:{row}", "query", "user:docs:u1:2"]
    put(documents, *stale, *kept)
    change(documents, "UPDATE documents SET views = views + 1 WHERE id = %s", row)
    assert keys(documents) == {*kept, f"doc:{row}", f"doc:{other}"}


@pytest.mark.parametrize("statement", ["UPDATE documents SET user_id = 'new'", "DELETE FROM documents"])
def test_the_query_patterns_of_a_row_are_deleted_on_update_and_delete(documents: World, statement: str) -> None:
    row = insert(documents, user=None)
    put(documents, f"query:a:{row}", f"search:{row}:b")
    change(documents, statement)
    assert not keys(documents) & {f"query:a:{row}", f"search:{row}:b"}


def test_user_keys_and_queries_of_the_old_and_the_new_user_are_deleted(documents: World) -> None:
    insert(documents, user="before")
    put(documents, "user:docs:before", "user:docs:after", "query:x before y", "search:after", "query:neither")
    change(documents, "UPDATE documents SET user_id = 'after'")
    assert {key for key in keys(documents) if not key.startswith("doc:")} == {"query:neither"}


def test_values_between_coalesced_changes_count_too(documents: World) -> None:
    insert(documents, user="first")
    put(documents, "user:docs:first", "user:docs:second", "user:docs:third")
    documents.wait_synced(documents.commit("UPDATE documents SET user_id = 'second'", "UPDATE documents SET user_id = 'third'"))
    assert {key for key in keys(documents) if not key.startswith("doc:")} == set()


def test_a_value_with_pattern_characters_is_taken_literally(documents: World) -> None:
    insert(documents, user=r"a*[b]\?")
    put(documents, r"query:of a*[b]\? here", "query:of ab here", "query:of axxb\\z here")
    change(documents, "UPDATE documents SET views = 1")
    assert {key for key in keys(documents) if not key.startswith("doc:")} == {"query:of ab here", "query:of axxb\\z here"}


def test_an_id_that_is_a_star_deletes_nothing_else(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE documents (id text PRIMARY KEY, title text);
        SELECT apex.attach('documents', cache => apex.cache('document', columns => ARRAY['title'],
                                                            invalidate => ARRAY['doc:{id}:chunks', 'query:*{id}*']));
    """)
    put(world, "doc:*", "doc:*:chunks", "query:about *", "doc:1", "doc:1:chunks", "query:about 1")
    change(world, "INSERT INTO documents VALUES ('*', 'x')")
    assert keys(world) == {"doc:1", "doc:1:chunks", "query:about 1"}


def test_a_pattern_deletes_all_of_ten_thousand_keys_with_scan_and_never_with_keys(documents: World) -> None:
    row = insert(documents)
    pipeline = documents.redis.pipeline(transaction=False)
    for number in range(10_000):
        pipeline.set(f"query:{number}:{row}", "x")
        pipeline.set(f"query:{number}:another", "x")
    pipeline.execute()
    documents.redis.config_resetstat()
    change(documents, "UPDATE documents SET views = 1")
    ran = documents.redis.info("commandstats")
    assert "cmdstat_scan" in ran and "cmdstat_unlink" in ran
    assert not {"cmdstat_keys", "cmdstat_flushdb", "cmdstat_flushall"} & ran.keys()
    assert sum(1 for _ in documents.redis.scan_iter("query:*")) == 10_000
    assert list(documents.redis.scan_iter(f"query:*{row}*")) == []


def test_a_rolled_back_change_invalidates_nothing(documents: World) -> None:
    row = insert(documents)
    put(documents, f"query:{row}")
    with documents.pg.transaction(force_rollback=True):
        documents.sql("UPDATE documents SET title = 'never'")
    documents.wait_synced()
    assert documents.redis.exists(f"query:{row}")
    assert entry(documents, f"doc:{row}")["title"] == "first"


# Events


@pytest.fixture
def subscriber(world: World) -> Iterator[Subscriber]:
    it = Subscriber(world.redis)
    yield it
    it.close()


def test_document_updated_and_document_deleted_say_id_time_and_source(documents: World, subscriber: Subscriber) -> None:
    before = datetime.datetime.now(datetime.timezone.utc)
    row = insert(documents)
    change(documents, "UPDATE documents SET title = 'second'")
    change(documents, "DELETE FROM documents")
    events = subscriber.heard()
    assert [event["event"] for event in events] == ["document_updated", "document_updated", "document_deleted"]
    for event in events:
        assert event.keys() == {"document_id", "event", "timestamp", "source"}
        assert event["document_id"] == row and event["source"] == "cache_service"
        at = datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
        assert before <= at <= datetime.datetime.now(datetime.timezone.utc)


@pytest.mark.parametrize("entity", ["entity", "chunk", "user"])
def test_entity_updated_chunk_updated_and_user_updated_are_announced(world: World, subscriber: Subscriber, entity: str) -> None:
    world.pg.execute(f"""
        CREATE TABLE things (id bigint PRIMARY KEY, name text);
        SELECT apex.attach('things', cache => apex.cache(entity => '{entity}', columns => ARRAY['name']));
    """)
    change(world, "INSERT INTO things VALUES (7, 'x')")
    assert [(event["event"], event["document_id"]) for event in subscriber.heard()] == [(f"{entity}_updated", "7")]


def test_events_named_in_the_mapping_are_announced_instead_of_the_entity(world: World, subscriber: Subscriber) -> None:
    world.pg.execute("""
        CREATE TABLE pages (book text, number int, body text, PRIMARY KEY (book, number));
        SELECT apex.attach('pages', cache => apex.cache('page', columns => ARRAY['body'], events => ARRAY['page', 'document']));
        CREATE TABLE silent (id bigint PRIMARY KEY, body text);
        SELECT apex.attach('silent', cache => apex.cache(entity => 'silent', columns => ARRAY['body'], events => '{}'));
        INSERT INTO silent VALUES (1, 'x');
    """)
    change(world, "INSERT INTO pages VALUES ('a', 1, 'x')")
    events = subscriber.heard()
    assert {event["event"] for event in events} == {"page_updated", "document_updated"} and len(events) == 2
    assert all(event["document_id"] == ["a", 1] for event in events)


def test_an_event_is_announced_when_every_store_holds_the_change(world: World, subscriber: Subscriber) -> None:
    """Who reads a store on hearing the event finds the new row there."""
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY, title text, embedding real[]);
        SELECT apex.attach('documents', graph => apex.graph('Document', properties => ARRAY['title']),
          vector => apex.vector('documents', 'embedding', dimensions => 2, payload => ARRAY['title']),
          cache => apex.cache(entity => 'document', mode => 'write'));
    """)
    world.sql("INSERT INTO documents VALUES (1, 'title', '{1,2}')")
    wait_until(subscriber.heard)
    for number in range(10):
        world.sql("UPDATE documents SET title = %s", f"title {number}")
        seen = wait_until(subscriber.heard)
        assert seen[-1]["event"] == "document_updated"
        assert world.node("Document", id=1)["title"] == f"title {number}"
        assert world.point("documents", 1).payload["title"] == f"title {number}"
        assert entry(world, "doc:1")["title"] == f"title {number}"


def test_events_go_to_the_configured_channel(quiet_world: World) -> None:
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_REDIS_CHANNEL": "elsewhere"})
    world.sidecar.start()
    usual, elsewhere = Subscriber(world.redis), Subscriber(world.redis, "elsewhere")
    world.pg.execute(DOCUMENTS)
    insert(world)
    assert [event["event"] for event in elsewhere.heard()] == ["document_updated"]
    assert usual.heard() == []
    usual.close()
    elsewhere.close()
