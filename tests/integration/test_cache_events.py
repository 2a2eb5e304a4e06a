"""Subscribers: the stream that keeps events, process-local caches that follow it, and lives of entries that rows tell."""

import datetime
import json
import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from cache_library import LocalCache
from world import World, wait_until

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build" / "release" / "example_cache_follower"
STREAM = "cache_events"


@pytest.fixture
def documents(quiet_world: World) -> World:
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_REDIS_STREAM": STREAM})
    world.sidecar.start()
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY, title text);
        SELECT apex.attach('documents', cache => apex.cache('document', mode => 'write'));
        INSERT INTO documents VALUES (1, 'one'), (2, 'two');
    """)
    world.wait_synced()
    return world


def change(world: World, statement: str, *arguments: object) -> None:
    world.sql(statement, *arguments)
    world.wait_synced()


def test_the_stream_has_each_event_as_the_channel_has_it(documents: World) -> None:
    change(documents, "DELETE FROM documents WHERE id = 1")
    kept = [json.loads(fields["event"]) for _, fields in documents.redis.xrange(STREAM)]
    assert [(each["document_id"], each["event"]) for each in kept[-1:]] == [("1", "document_deleted")]
    assert {each["document_id"] for each in kept} == {"1", "2"}
    assert all(each.keys() == {"document_id", "event", "timestamp", "source"} for each in kept)


def test_the_stream_is_capped(documents: World) -> None:
    documents.sql("INSERT INTO documents SELECT n, 'x' FROM generate_series(10, 25000) n")
    documents.wait_synced()
    assert 10_000 <= documents.redis.xlen(STREAM) < 11_000


def test_without_its_key_there_is_no_stream(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE documents (id bigint PRIMARY KEY);
        SELECT apex.attach('documents', cache => apex.cache('document'));
        INSERT INTO documents VALUES (1);
    """)
    world.wait_synced()
    assert list(world.redis.scan_iter(_type="stream")) == []


@pytest.fixture
def local(documents: World) -> Iterator[LocalCache]:
    it = LocalCache(documents.stack.redis.client(), STREAM)
    yield it
    it.close()


def test_a_local_cache_is_right_a_moment_after_every_change(documents: World, local: LocalCache) -> None:
    loads = []

    def load() -> str:
        loads.append(1)
        return json.loads(documents.redis.get("doc:1"))["title"]

    assert wait_until(lambda: local.get("1", load)) == "one"
    wait_until(lambda: (before := len(loads)) and local.get("1", load) and len(loads) == before)
    for number in range(5):
        change(documents, "UPDATE documents SET title = %s WHERE id = 1", f"title {number}")
        wait_until(lambda: local.get("1", load) == f"title {number}")


def test_what_was_loaded_before_a_change_is_not_held(documents: World, local: LocalCache) -> None:
    def slow() -> str:
        title = json.loads(documents.redis.get("doc:1"))["title"]
        change(documents, "UPDATE documents SET title = 'changed' WHERE id = 1")
        wait_until(lambda: local._place == documents.redis.xinfo_stream(STREAM)["last-generated-id"])
        return title

    assert local.get("1", slow) == "one"
    assert local.get("1", lambda: "loaded again") == "loaded again"


def test_a_local_cache_that_was_away_reads_on_or_begins_anew(documents: World, local: LocalCache) -> None:
    local.get("1", lambda: "held")
    local.get("2", lambda: "held")
    documents.redis.client_kill_filter(_type="normal", skipme=True)
    change(documents, "UPDATE documents SET title = 'changed' WHERE id = 1")
    wait_until(lambda: local.get("1", lambda: "loaded") == "loaded")
    assert local.get("2", lambda: "loaded") == "held"
    documents.redis.delete(STREAM)
    wait_until(lambda: local.get("2", lambda: "loaded") == "loaded")


def test_the_cpp_local_cache_follows_too(documents: World) -> None:
    follower = subprocess.Popen(
        [str(PROGRAM), "127.0.0.1", str(documents.stack.redis.port), STREAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask(number: int) -> str:
        follower.stdin.write(f"{number}\n")
        follower.stdin.flush()
        return follower.stdout.readline()

    try:
        # It holds nothing before it listens.
        wait_until(lambda: '"one"' in (answer := ask(1)) and "(loaded)" not in answer)
        change(documents, "UPDATE documents SET title = 'changed' WHERE id = 1")
        wait_until(lambda: '"changed"' in (answer := ask(1)) and "(loaded)" not in answer)
    finally:
        follower.stdin.close()
        assert follower.wait(timeout=60) == 0


# Lives that rows tell


def test_a_column_says_how_many_seconds_an_entry_lives(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE sessions (id bigint PRIMARY KEY, lives int);
        SELECT apex.attach('sessions', cache => apex.cache('session', mode => 'write', ttl => '1 hour', ttl_column => 'lives'));
        INSERT INTO sessions VALUES (1, 100), (2, NULL), (3, 0), (4, -5);
    """)
    world.wait_synced()
    assert 50 < world.redis.ttl("session:1") <= 100
    assert 3000 < world.redis.ttl("session:2") <= 3600, "where it is NULL the table's own holds"
    assert set(world.redis.scan_iter("*")) == {"session:1", "session:2"}
    change(world, "UPDATE sessions SET lives = 0 WHERE id = 1")
    assert not world.redis.exists("session:1")
    change(world, "UPDATE sessions SET lives = 2 WHERE id = 3")
    wait_until(lambda: not world.redis.exists("session:3"))


def test_a_column_says_until_when_an_entry_lives(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE sessions (id bigint PRIMARY KEY, until timestamptz);
        SELECT apex.attach('sessions', cache => apex.cache('session', mode => 'write', ttl_column => 'until', columns => ARRAY['id']));
    """)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=500)
    world.sql("INSERT INTO sessions VALUES (1, %s), (2, NULL), (3, now() - interval '1 day'), (4, 'infinity'), (5, '-infinity'), (6, '12345-01-01')", until)
    world.wait_synced()
    assert 400 < world.redis.ttl("session:1") <= 500
    assert world.redis.ttl("session:2") == world.redis.ttl("session:4") == -1
    assert world.redis.ttl("session:6") > 10**8
    assert set(world.redis.scan_iter("*")) == {"session:1", "session:2", "session:4", "session:6"}
    status, text = world.sidecar.get("/api/v1/cache/session/3")
    assert status == 200 and json.loads(text)["id"] == 3
    assert not world.redis.exists("session:3"), "a reader does not keep what is over either"


@pytest.mark.parametrize(("column", "said"), [("name", "cannot say how long"), ("nothing", "does not exist")])
def test_a_column_that_cannot_say_it_is_refused(world: World, column: str, said: str) -> None:
    world.pg.execute("CREATE TABLE sessions (id bigint PRIMARY KEY, name text)")
    with pytest.raises(Exception, match=said):
        world.sql("SELECT apex.attach('sessions', cache => apex.cache('session', mode => 'write', ttl_column => %s))", column)
