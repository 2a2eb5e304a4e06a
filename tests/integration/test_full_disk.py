"""A store whose disk is full refuses every row. That is no row's fault: all wait, none is parked, and all arrive afterwards."""

import json
import pathlib
import resource
from collections.abc import Iterator

import pytest
from world import World, wait_until

from stores import Neo4j, Qdrant
from stores.process import Server

TABLE = """
CREATE TABLE documents (id bigint PRIMARY KEY, title text, embedding real[]);
SELECT apex.attach('documents', graph => apex.graph('Document', properties => ARRAY['title']),
  vector => apex.vector('documents', 'embedding', dimensions => 4096, payload => ARRAY['title']));
"""
ROWS = "INSERT INTO documents SELECT n, repeat('long', 100), array_fill(n::real, ARRAY[4096]) FROM generate_series(%s::int, %s::int) n"
FULL_BYTES = 4096
# Until a store has to write to its disk: Neo4j at once, Qdrant's engine when a file of 32 MiB is full of vectors.
ROWS_MAX = {"neo4j": 100, "qdrant": 2500}


def fill(server: Server, bytes_max: int) -> None:
    """To a process, a file that cannot grow, or be written beyond its limit, is a disk without room."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))


@pytest.fixture(params=["neo4j", "qdrant"])
def cramped(request: pytest.FixtureRequest, quiet_world: World, tmp_path: pathlib.Path) -> Iterator[tuple[World, Server]]:
    """A sidecar, and the store of its own whose disk will be full."""
    server = Neo4j(tmp_path / "neo4j") if request.param == "neo4j" else Qdrant(tmp_path / "qdrant")
    server.start()
    quiet_world.pg.execute(TABLE)
    quiet_world.sidecar = quiet_world.another_sidecar({f"APEX_{request.param.upper()}_URI": server.uri})
    quiet_world.sidecar.start()
    quiet_world.sql(ROWS, 1, 10)
    quiet_world.wait_synced()
    yield quiet_world, server
    fill(server, resource.RLIM_INFINITY)
    quiet_world.sidecar.stop()
    server.stop()


def reasons(world: World) -> list[str]:
    status, body = world.sidecar.get("/readyz")
    return json.loads(body)["not_ready"] if status == 503 else []


def held(server: Server) -> int:
    if isinstance(server, Neo4j):
        with server.driver() as driver:
            return driver.execute_query("MATCH (n:Document) WHERE n._apex_seq IS NOT NULL RETURN count(n) AS held").records[0]["held"]
    return server.client().count("documents").count


def test_a_full_disk_parks_nothing_and_loses_nothing(cramped: tuple[World, Server]) -> None:
    world, server = cramped
    fill(server, FULL_BYTES)
    world.sql(ROWS, 11, ROWS_MAX[server.name])
    wait_until(lambda: any(said.startswith(f"{server.name}: ") for said in reasons(world)), message=lambda: str(reasons(world)))
    world.sql("UPDATE documents SET title = 'changed meanwhile' WHERE id <= 20")
    assert world.wait_synced(expect=None, seconds=3) == "timeout"
    assert world.parked() == [] and world.sql("SELECT * FROM apex.sagas") == []
    assert world.metric("apex_store_up", store=server.name) == 0
    fill(server, resource.RLIM_INFINITY)
    # After such an error Neo4j writes nothing more until it is started again.
    server.stop()
    server.start()
    world.wait_synced(seconds=120)
    assert world.parked() == []
    assert held(server) == ROWS_MAX[server.name]
