"""Reading through the cache: from Redis or PostgreSQL by the API, by a service's own library, and what Redis says of itself."""

import concurrent.futures
import http.client
import itertools
import json
import pathlib
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator

import psycopg
import pytest
from cache_library import Cache, lease_key
from command import apex
from gated import Gated
from stores.sidecar import Sidecar
from world import World, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]

DOCUMENTS = """
CREATE TABLE documents (id bigint PRIMARY KEY, title text);
SELECT apex.attach('documents', cache => apex.cache(entity => 'document', mode => '{mode}' {more}));
"""


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def source(self) -> str | None:
        return self.headers["X-Cache"]

    @property
    def row(self) -> dict:
        held = json.loads(self.text)
        assert held.pop("_apex_seq", -1) >= 0, self.text
        return held


def ask(sidecar: Sidecar, path: str, headers: dict[str, str] | None = None, seconds: float = 30) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=seconds)
    try:
        connection.request("GET", path, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def attach(world: World, mode: str = "invalidate", more: str = "") -> World:
    world.pg.execute(DOCUMENTS.format(mode=mode, more=more))
    world.sql("INSERT INTO documents SELECT n, 'title ' || n FROM generate_series(1, 5) n")
    world.wait_synced()
    return world


@pytest.fixture
def documents(world: World) -> World:
    return attach(world)


def document(world: World, key: object, headers: dict[str, str] | None = None) -> Answer:
    return ask(world.sidecar, f"/api/v1/cache/document/{urllib.parse.quote(str(key), safe='')}", headers)


def fills(world: World) -> float:
    return world.metric("apex_cache_fills_total", result="filled") + world.metric("apex_cache_fills_total", result="refused")


def test_a_miss_is_read_from_postgresql_and_the_next_reader_hits(documents: World) -> None:
    first, second = document(documents, 1), document(documents, 1)
    assert (first.status, first.source, first.row) == (200, "MISS", {"id": 1, "title": "title 1"})
    assert (second.status, second.source, second.text) == (200, "HIT", first.text)
    assert documents.redis.get("doc:1") == first.text
    assert 3000 < documents.redis.ttl("doc:1") <= 3600
    assert documents.metric("apex_cache_reads_total", result="hit") == 1
    assert documents.metric("apex_cache_reads_total", result="miss") == 1


def test_a_change_takes_away_what_a_reader_filled(documents: World) -> None:
    document(documents, 1)
    documents.sql("UPDATE documents SET title = 'second' WHERE id = 1")
    documents.wait_synced()
    assert not documents.redis.exists("doc:1")
    assert document(documents, 1).row["title"] == "second"


def test_an_entry_that_the_sidecar_wrote_is_a_hit_and_one_that_expired_is_filled_for_its_ttl(world: World) -> None:
    attach(world, "write", ", ttl => '10 minutes'")
    assert document(world, 2).source == "HIT"
    world.redis.delete("doc:2")
    assert document(world, 2).source == "MISS"
    assert 500 < world.redis.ttl("doc:2") <= 600


def test_a_missing_row_is_remembered_until_it_is_inserted(documents: World) -> None:
    first, second = document(documents, 99), document(documents, 99)
    assert (first.status, first.source) == (404, "MISS")
    assert (second.status, second.source) == (404, "HIT")
    assert 0 < documents.redis.pttl(lease_key("doc:99")) <= 2000
    documents.sql("INSERT INTO documents VALUES (99, 'there')")
    documents.wait_synced()
    assert document(documents, 99).row["title"] == "there"


def test_an_etag_spares_what_has_not_changed(documents: World) -> None:
    tag = document(documents, 1).headers["ETag"]
    again = document(documents, 1, {"If-None-Match": tag})
    assert (again.status, again.text, again.headers["ETag"]) == (304, "", tag)
    documents.sql("UPDATE documents SET title = 'second' WHERE id = 1")
    documents.wait_synced()
    changed = document(documents, 1, {"If-None-Match": tag})
    assert (changed.status, changed.row["title"]) == (200, "second")


def test_every_key_type_finds_its_row_by_any_spelling(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE pages (book text, number int, body text, PRIMARY KEY (book, number));
        SELECT apex.attach('pages', cache => apex.cache('page', columns => ARRAY['body']));
        INSERT INTO pages VALUES ('a/b %', 7, 'x'), ('', 1, 'empty');
        CREATE TABLE users (id uuid PRIMARY KEY, name text);
        SELECT apex.attach('users', cache => apex.cache('user', columns => ARRAY['name']));
        INSERT INTO users VALUES ('0190163d-8694-739b-aea5-966c26f8ad91', 'Ada');
    """)
    world.wait_synced()
    assert ask(world.sidecar, "/api/v1/cache/page/a%2Fb%20%25/7").row["body"] == "x"
    assert ask(world.sidecar, "/api/v1/cache/page/a%2Fb%20%25/007").source == "HIT"
    assert ask(world.sidecar, "/api/v1/cache/user/0190163D8694739BAEA5966C26F8AD91").row["name"] == "Ada"
    assert ask(world.sidecar, "/api/v1/cache/user/0190163d-8694-739b-aea5-966c26f8ad91").source == "HIT"


def test_a_key_that_cannot_be_one_is_400_and_an_unknown_entity_404(documents: World) -> None:
    for key in ("x", "1.0", "1/2", "9" * 30, "'; DROP TABLE documents"):
        assert document(documents, key).status == 400, key
    assert ask(documents.sidecar, "/api/v1/cache/document/1/2").status == 400
    assert ask(documents.sidecar, "/api/v1/cache/nothing/1").status == 404
    assert document(documents, 9223372036854775808).status == 404, "beyond bigint"
    assert ask(documents.sidecar, "/api/v1/cache/document").status == 400


def test_entries_named_by_other_columns_cannot_be_read_by_key(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE pages (id bigint PRIMARY KEY, slug text);
        SELECT apex.attach('pages', cache => apex.cache('page', entry => 'page:{slug}', columns => ARRAY['slug']));
    """)
    assert ask(world.sidecar, "/api/v1/cache/page/1").status == 400


def test_an_applications_own_value_is_neither_served_nor_overwritten(documents: World) -> None:
    documents.redis.set("doc:1", "<p>rendered</p>")
    read = document(documents, 1)
    assert (read.status, read.source, read.row["title"]) == (200, "BYPASS", "title 1")
    assert documents.redis.get("doc:1") == "<p>rendered</p>"


def test_rows_need_the_token_once_one_is_configured(quiet_world: World) -> None:
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_HTTP_TOKEN": "secret"})
    world.sidecar.start()
    attach(world)
    assert document(world, 1).status == 401
    assert document(world, 1, {"Authorization": "Bearer secret"}).status == 200


def test_an_altered_mapping_is_followed(documents: World) -> None:
    document(documents, 1)
    documents.sql("ALTER TABLE documents ADD COLUMN source text DEFAULT 'web'")
    documents.sql("SELECT apex.alter('documents', cache => apex.cache(entity => 'paper', entry => 'paper:{id}'))")
    wait_until(lambda: ask(documents.sidecar, "/api/v1/cache/paper/1").status == 200)
    assert ask(documents.sidecar, "/api/v1/cache/paper/1").row == {"id": 1, "title": "title 1", "source": "web"}


# Many readers


def hold(world: World) -> psycopg.Connection:
    """A transaction that keeps every reader of the table waiting."""
    other = psycopg.connect(world.dsn)
    other.execute("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
    return other


def waiting(world: World) -> int:
    return world.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'apex cache' AND wait_event_type = 'Lock'"
    )


def test_a_thousand_clients_that_miss_one_key_cost_one_query(documents: World) -> None:
    with concurrent.futures.ThreadPoolExecutor(250) as pool:
        answers = [each.result() for each in [pool.submit(document, documents, 3) for _ in range(1000)]]
    assert {(each.status, each.row["title"]) for each in answers} == {(200, "title 3")}
    assert fills(documents) == 1
    assert documents.metric("apex_cache_reads_total", result="bypass") == 0


def test_who_misses_while_the_row_is_read_waits_for_the_same_reading(documents: World) -> None:
    document(documents, 5)  # the mapping is known now
    with hold(documents) as other, concurrent.futures.ThreadPoolExecutor(20) as pool:
        reading = [pool.submit(document, documents, 3) for _ in range(20)]
        wait_until(lambda: waiting(documents))
        other.rollback()
        answers = [each.result() for each in reading]
    assert {each.row["title"] for each in answers} == {"title 3"}
    assert fills(documents) == 2


def test_a_database_that_hangs_keeps_nobody_from_the_health_pages(documents: World) -> None:
    document(documents, 5)
    with hold(documents) as other, concurrent.futures.ThreadPoolExecutor(100) as pool:
        reading = [pool.submit(document, documents, 3) for _ in range(100)]
        wait_until(lambda: waiting(documents))
        assert ask(documents.sidecar, "/livez", seconds=5).status == 200
        other.rollback()
        answers = [each.result() for each in reading]
    assert {each.status for each in answers} <= {200, 503}


def test_a_fill_that_was_read_before_a_change_is_refused(documents: World) -> None:
    """The reader has its lease, then the row changes and is invalidated, then the reader fills."""
    client = documents.redis
    cache = Cache(client)

    def slow() -> str:
        title = documents.value("SELECT title FROM documents WHERE id = 1")
        documents.sql("UPDATE documents SET title = 'second' WHERE id = 1")
        documents.wait_synced()
        return title

    assert cache.get("doc:1", slow) == "title 1"
    assert client.get("doc:1") is None
    assert cache.get("doc:1", lambda: documents.value("SELECT title FROM documents WHERE id = 1")) == "second"
    assert client.get("doc:1") == "second"


def test_services_that_fill_the_cache_themselves_leave_nothing_stale(documents: World) -> None:
    """Readers and a writer at once, with leases evicted now and then; afterwards every entry is the row."""
    over = threading.Event()
    reads: list[str] = []

    def write() -> None:
        with documents.connect() as pg:
            for number in itertools.count():
                if number >= 300 and len(reads) > 100:
                    break
                pg.execute("UPDATE documents SET title = %s WHERE id = %s", [f"changed {number}", number % 5 + 1])
        over.set()

    def read(seed: int) -> None:
        with documents.connect() as pg, documents.stack.redis.client() as client:
            cache = Cache(client)
            for number in itertools.count(seed):
                if over.is_set():
                    break
                key = number % 5 + 1
                cache.get(f"doc:{key}", lambda key=key: pg.execute("SELECT title FROM documents WHERE id = %s", [key]).fetchone()[0])
                if number % 17 == 0:
                    client.delete(lease_key(f"doc:{key}"))
                reads.append(f"doc:{key}")

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read, seed) for seed in range(4)]
        pool.submit(write).result()
        for reader in readers:
            reader.result()
    documents.wait_synced()
    held = {key: documents.redis.get(f"doc:{key}") for key in range(1, 6)}
    rows = dict(documents.sql("SELECT id, title FROM documents"))
    assert {key: value for key, value in held.items() if value not in (None, rows[key])} == {}


def test_the_cpp_library_reads_and_fills(documents: World) -> None:
    program = ROOT / "build" / "release" / "example_cache_reader"
    run = [str(program), "127.0.0.1", str(documents.stack.redis.port), documents.dsn]
    first = subprocess.run([*run, "1", "99"], capture_output=True, text=True, timeout=60, check=True)
    assert first.stdout == "doc:1 title 1 (read)\ndoc:99 none (read)\n"
    second = subprocess.run([*run, "1", "99"], capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout == "doc:1 title 1\ndoc:99 none\n"
    documents.sql("UPDATE documents SET title = 'second' WHERE id = 1")
    documents.wait_synced()
    third = subprocess.run([*run, "1"], capture_output=True, text=True, timeout=60, check=True)
    assert third.stdout == "doc:1 second (read)\n"


# Stores that are away


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    """Documents whose sidecar reaches every store through a gate."""
    gates = Gated(quiet_world)
    quiet_world.sidecar = gates.sidecar
    gates.sidecar.start()
    attach(quiet_world)
    yield gates
    gates.close()


def test_without_redis_rows_come_from_postgresql(gated: Gated) -> None:
    world = gated.world
    gated.gates["redis"].refuse()
    read = document(world, 1)
    assert (read.status, read.source, read.row["title"]) == (200, "BYPASS", "title 1")
    assert ask(world.sidecar, "/api/v1/cache").status == 503
    gated.open()
    wait_until(lambda: document(world, 1).source == "HIT")


def test_without_postgresql_hits_are_served_and_misses_are_503(gated: Gated) -> None:
    world = gated.world
    document(world, 1)
    gated.gates["postgres"].refuse()
    assert document(world, 1).source == "HIT"
    missing = document(world, 2)
    assert (missing.status, missing.headers["Retry-After"]) == (503, "1")
    gated.open()
    wait_until(lambda: document(world, 2).status == 200)


def add_papers(world: World) -> None:
    """Three rows in every store, each with an entry that the sidecar writes."""
    world.pg.execute("""
        CREATE TABLE papers (id bigint PRIMARY KEY, title text, embedding real[]);
        SELECT apex.attach('papers', graph => apex.graph('Paper', properties => ARRAY['title']),
          vector => apex.vector('papers', 'embedding', dimensions => 2, payload => ARRAY['title']),
          cache => apex.cache(entity => 'paper', mode => 'write', entry => 'paper:{id}', invalidate => ARRAY['query:*{id}*']));
        INSERT INTO papers SELECT i, 'old', '{1,2}' FROM generate_series(1, 3) i;
    """)
    world.wait_synced()


@pytest.mark.parametrize("store", ["neo4j", "qdrant"])
def test_an_outage_of_a_store_leaves_no_stale_entry(gated: Gated, store: str) -> None:
    world = gated.world
    add_papers(world)
    assert json.loads(world.redis.get("paper:1"))["title"] == "old"
    gated.hold(store)
    world.sql("UPDATE papers SET title = 'new' WHERE id = 1")
    gated.wait_held(store)
    wait_until(lambda: world.redis.get("paper:1") is None, message="the entry outlived the change")
    assert ask(world.sidecar, "/api/v1/cache/paper/1").row["title"] == "new"
    # Computed of what the store that is away still holds.
    world.redis.set("query:about 1", "of the old paper")
    gated.open()
    world.wait_synced()
    assert json.loads(world.redis.get("paper:1"))["title"] == "new" and not world.redis.exists("query:about 1")


@pytest.mark.parametrize("store", ["neo4j", "qdrant"])
def test_what_changes_during_an_outage_is_not_read_stale(gated: Gated, store: str) -> None:
    world = gated.world
    add_papers(world)
    gated.hold(store)
    world.sql("UPDATE papers SET title = 'new' WHERE id = 1")
    gated.wait_held(store)
    # The batch that waits was read before these were committed, one after the other.
    for id in (2, 3):
        assert world.redis.exists(f"paper:{id}")
        world.sql("UPDATE papers SET title = 'new' WHERE id = %s", id)
        wait_until(lambda id=id: not world.redis.exists(f"paper:{id}"), message="the entry outlived the change")
        assert ask(world.sidecar, f"/api/v1/cache/paper/{id}").row["title"] == "new"
    gated.open()
    world.wait_synced()
    assert [json.loads(world.redis.get(f"paper:{id}"))["title"] for id in (1, 2, 3)] == ["new"] * 3


def test_a_backlog_behind_an_outage_loses_its_entries_and_gets_them_all_back(gated: Gated) -> None:
    world = gated.world
    world.pg.execute("""
        CREATE TABLE papers (id bigint PRIMARY KEY, title text);
        SELECT apex.attach('papers', graph => apex.graph('Paper', properties => ARRAY['title']),
          cache => apex.cache(entity => 'paper', mode => 'write', entry => 'paper:{id}'));
    """)
    gated.hold("neo4j")
    # More than the sidecar reads while nothing is settled.
    world.sql("INSERT INTO papers SELECT i, 'title ' || i FROM generate_series(1, 60000) i")
    gated.wait_held("neo4j")
    world.redis.set("paper:25000", "of an application")
    wait_until(lambda: not world.redis.exists("paper:25000"), message="the entry outlived the change")
    # The outage ends in the middle of what is looked at, and there is another when some of that has been written.
    gated.open()
    wait_until(lambda: world.redis.exists("paper:40000"))
    gated.hold("neo4j")
    world.redis.set("paper:60001", "of an application")
    world.sql("INSERT INTO papers VALUES (60001, 'the last')")
    wait_until(lambda: not world.redis.exists("paper:60001"), message="the entry outlived the change")
    gated.open()
    world.wait_synced()
    assert sum(1 for _ in world.redis.scan_iter("paper:*", count=10000)) == 60001


def test_connections_are_bounded_and_released(documents: World) -> None:
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda number: document(documents, number % 5 + 1), range(200)))
    own = [client for client in documents.redis.client_list() if client["cmd"] in ("get", "evalsha")]
    assert 0 < len(own) <= 8
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'apex cache'"
    assert 0 < documents.value(sessions) <= 4
    before = len(documents.redis.client_list())
    documents.sidecar.stop()
    wait_until(lambda: documents.value(sessions) == 0)
    wait_until(lambda: len(documents.redis.client_list()) <= before - len(own))


# Statistics


def test_statistics_are_those_of_redis(documents: World) -> None:
    documents.redis.config_resetstat()
    fresh = json.loads(ask(documents.sidecar, "/api/v1/cache").text)
    assert fresh["hit_rate"] == 0 or fresh["keyspace_hits"] + fresh["keyspace_misses"] > 0
    document(documents, 1)
    for _ in range(20):
        document(documents, 1)
    said = json.loads(ask(documents.sidecar, "/api/v1/cache").text)
    info = documents.redis.info()
    assert said["total_keys"] == documents.redis.dbsize()
    assert abs(said["memory_usage_bytes"] - info["used_memory"]) < 10_000_000
    assert 20 <= said["keyspace_hits"] <= info["keyspace_hits"]
    assert 1 <= said["keyspace_misses"] <= info["keyspace_misses"]
    assert said["evictions"] == info["evicted_keys"] == 0
    rate = said["keyspace_hits"] / (said["keyspace_hits"] + said["keyspace_misses"]) * 100
    assert said["hit_rate"] == pytest.approx(rate, abs=0.01) and 0 < said["hit_rate"] <= 100
    assert documents.metric("apex_cache_keys") == documents.redis.dbsize()
    assert documents.metric("apex_cache_keyspace_hits") >= said["keyspace_hits"]
    assert documents.metric("apex_cache_memory_bytes") > 0


def test_status_shows_the_cache_for_people_and_programs(documents: World) -> None:
    document(documents, 1)
    variables = documents.sidecar.variables
    said = json.loads(apex("status", "--cache", "--json", variables=variables).stdout)
    assert said["total_keys"] == documents.redis.dbsize() and 0 <= said["hit_rate"] <= 100
    shown = apex("status", "--cache", variables=variables)
    assert shown.returncode == 0 and "hit rate" in shown.stdout and "evictions    0" in shown.stdout
    without = apex("status", "--cache", variables={"APEX_POSTGRES_DSN": variables["APEX_POSTGRES_DSN"]})
    assert without.returncode == 2 and "redis.uri" in without.stderr
