"""Rows through both images into real stores, and what the sidecar does when its container is stopped."""

import json
import os
import signal
import urllib.request
import uuid
from typing import Any

import pytest
from conftest import Pair, Stores
from engine import Container, wait_until

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE {table} (id uuid PRIMARY KEY DEFAULT uuid7(), title text NOT NULL, embedding vector(3));
SELECT apex.attach('{table}',
  graph  => apex.graph(label => '{label}', properties => ARRAY['title']),
  vector => apex.vector(collection => '{table}', embedding => 'embedding', payload => ARRAY['title']),
  cache  => apex.cache(entity => '{table}', mode => 'write', entry => '{table}:{{id}}', ttl => '1 hour'));
"""


@pytest.fixture
def table(pair: Pair) -> str:
    """An attached table of its own, with an embedding of pgvector's type."""
    name = f"rows_{uuid.uuid4().hex[:8]}"
    pair.pg.execute(SCHEMA.format(table=name, label=name.title()))
    return name


def in_neo4j(stores: Stores, table: str) -> dict[str, str]:
    records = stores.neo4j.execute_query(f"MATCH (n:{table.title()}) RETURN n.id AS id, n.title AS title").records
    return {record["id"]: record["title"] for record in records}


def in_qdrant(stores: Stores, table: str) -> dict[str, tuple[str, list[float]]]:
    points, _ = stores.qdrant.scroll(table, limit=10000, with_vectors=True)
    return {str(point.id): (point.payload["title"], point.vector) for point in points}


def in_redis(stores: Stores, table: str) -> dict[str, str]:
    keys = list(stores.redis.scan_iter(f"{table}:*", count=1000))
    return {key.partition(":")[2]: json.loads(value)["title"] for key, value in zip(keys, stores.redis.mget(keys) if keys else [])}


def pipeline(pair: Pair) -> dict[str, Any]:
    return pair.pg.execute("SELECT apex.status()").fetchone()[0]["pipelines"][0]


def role(sidecar: Container) -> str:
    """What it says of itself over HTTP."""
    listen = next(entry for entry in sidecar.inspect()["Config"]["Env"] if entry.startswith("APEX_HTTP_LISTEN="))
    with urllib.request.urlopen(f"http://{listen.partition('=')[2]}/api/v1/status", timeout=10) as answer:
        return json.load(answer)["role"]


def test_rows_with_a_pgvector_embedding_reach_every_store(pair: Pair, stores: Stores, table: str):
    inserted = pair.pg.execute(
        f"INSERT INTO {table} (title, embedding) SELECT 'row ' || n, ARRAY[0, 0.6, 0.8]::vector(3) FROM generate_series(1, 200) n RETURNING id::text, title"
    ).fetchall()
    pair.wait_synced()
    rows = dict(inserted)
    assert in_neo4j(stores, table) == rows
    assert in_redis(stores, table) == rows
    points = in_qdrant(stores, table)
    assert {key: title for key, (title, _) in points.items()} == rows
    assert all(vector == pytest.approx([0, 0.6, 0.8]) for _, vector in points.values())


def test_the_image_speaks_resp3_to_redis(pair: Pair, stores: Stores, table: str):
    """Debian 13's hiredis reads it; Debian 12's, which the other tests are built with, does not."""
    pair.pg.execute(f"INSERT INTO {table} (title) VALUES ('one')")
    pair.wait_synced()  # The connection that has written a row is named.
    ours = [client for client in stores.redis.client_list() if client["name"].startswith("apex:")]
    assert ours and {client["resp"] for client in ours} == {"3"}


def test_updates_and_deletes_follow(pair: Pair, stores: Stores, table: str):
    pair.pg.execute(f"INSERT INTO {table} (title, embedding) VALUES ('kept', '[1,0,0]'), ('gone', '[1,0,0]'), ('without a point', NULL)")
    pair.wait_synced()
    pair.pg.execute(f"UPDATE {table} SET title = 'changed', embedding = '[0,1,0]' WHERE title = 'kept'")
    pair.pg.execute(f"DELETE FROM {table} WHERE title = 'gone'")
    pair.wait_synced()
    assert sorted(in_neo4j(stores, table).values()) == ["changed", "without a point"]
    assert [(title, list(vector)) for title, vector in in_qdrant(stores, table).values()] == [("changed", pytest.approx([0, 1, 0]))]


def test_sigterm_drains_and_nothing_is_lost_or_left_over(pair: Pair, stores: Stores, table: str):
    pair.pg.execute(f"INSERT INTO {table} (title, embedding) SELECT 'row ' || n, '[1,0,0]' FROM generate_series(1, 5000) n")
    wait_until(lambda: in_neo4j(stores, table), pair.sidecar.logs)

    assert pair.sidecar.stop() == 0, pair.sidecar.logs()
    assert "SIGTERM" in pair.sidecar.logs()
    # What one store has, all have: what was in flight was finished, and not cut off between two stores.
    assert set(in_neo4j(stores, table)) == set(in_redis(stores, table)) == set(in_qdrant(stores, table))
    # It has given up its lease, so that nobody has to wait for it to run out.
    assert pipeline(pair)["heartbeat_age_seconds"] is None

    pair.sidecar.start()
    pair.wait_synced()
    expected = dict(pair.pg.execute(f"SELECT id::text, title FROM {table}").fetchall())
    assert in_neo4j(stores, table) == expected
    assert in_redis(stores, table) == expected


def test_healthcheck_fails_when_the_sidecar_does_not_answer(pair: Pair):
    process = pair.sidecar.state["Pid"]
    assert pair.sidecar.is_healthy()
    os.kill(process, signal.SIGSTOP)
    try:
        assert not pair.sidecar.is_healthy()
    finally:
        os.kill(process, signal.SIGCONT)
    assert pair.sidecar.is_healthy()


def test_sidecar_waits_for_a_database_that_restarts(pair: Pair, stores: Stores, table: str):
    assert pair.postgres.stop() == 0
    pair.postgres.start()
    pair.connect()
    pair.pg.execute(f"INSERT INTO {table} (title, embedding) VALUES ('after', '[1,0,0]')")
    pair.wait_synced()
    assert list(in_neo4j(stores, table).values()) == ["after"]


def test_second_sidecar_of_the_same_host_stands_by_and_takes_over(pair: Pair, stores: Stores, table: str):
    """On the host's network both have the host's name, and both are process 1."""
    # The first write raises the epoch above the one that Neo4j remembers of another test's database.
    pair.pg.execute(f"INSERT INTO {table} (title, embedding) VALUES ('before', '[1,0,0]')")
    pair.wait_synced()
    epoch = pipeline(pair)["epoch"]
    standby = pair.start_standby()
    standby.wait_healthy()
    wait_until(lambda: role(standby) == "standby", standby.logs)
    pair.pg.execute(f"INSERT INTO {table} (title, embedding) VALUES ('meanwhile', '[1,0,0]')")
    pair.wait_synced()
    assert (role(pair.sidecar), role(standby), pipeline(pair)["epoch"]) == ("leader", "standby", epoch)

    assert pair.sidecar.stop() == 0
    wait_until(lambda: role(standby) == "leader", standby.logs)
    pair.pg.execute(f"INSERT INTO {table} (title, embedding) VALUES ('after', '[1,0,0]')")
    pair.wait_synced()
    assert sorted(in_neo4j(stores, table).values()) == ["after", "before", "meanwhile"]
