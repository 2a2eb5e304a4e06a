"""`apex doctor` names what is really wrong, says what to do, exits with 1 when there is a problem, and changes nothing."""

import pathlib
from collections.abc import Iterator, Mapping

import pytest
from command import apex
from qdrant_client import models
from stores import SIDECAR_ROLE, Postgres, Qdrant, runtime_directory
from stores.ports import free_port
from world import World

TABLE = """
CREATE TABLE documents (id bigint PRIMARY KEY, title text, embedding real[]);
SELECT apex.attach('documents', graph => apex.graph('Document', properties => ARRAY['title']),
  vector => apex.vector('documents', 'embedding', dimensions => 4), cache => apex.cache(entity => 'document'));
"""


@pytest.fixture
def well(quiet_world: World) -> World:
    """A set-up without fault: one table in all three stores."""
    quiet_world.pg.execute(TABLE)
    return quiet_world


def examine(world: World, variables: Mapping[str, str] | None = None) -> tuple[int, str]:
    done = apex("doctor", variables={**world.stack.sidecar_variables(world.database), **(variables or {})})
    assert done.stderr == ""
    return done.returncode, done.stdout


def problems(world: World, variables: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Each problem with its remedy; the exit code and the sum at the end agree with them."""
    code, report = examine(world, variables)
    lines = report.splitlines()
    found = [
        (line.split("PROBLEM", 1)[1].strip(), remedy.split("->", 1)[1].strip())
        for line, remedy in zip(lines, lines[1:], strict=False)
        if line.strip().startswith("PROBLEM")
    ]
    assert code == (1 if found else 0), report
    assert lines[-1] == ("nothing is wrong" if not found else f"{len(found)} problem{'s' if len(found) > 1 else ''}")
    return found


def one_problem(world: World, variables: Mapping[str, str] | None = None) -> str:
    """Problem and remedy in one text."""
    found = problems(world, variables)
    assert len(found) == 1, found
    return " -> ".join(found[0])


def says(text: str, *words: str) -> bool:
    missing = [word for word in words if word not in text]
    assert missing == [], f"{missing} not in: {text}"
    return True


def test_all_is_well_before_and_while_the_sidecar_runs_and_nothing_is_changed(well: World) -> None:
    code, report = examine(well)
    assert code == 0 and report.endswith("nothing is wrong\n")
    installed = well.value("SELECT extversion FROM pg_extension WHERE extname = 'apex_saga'")
    for said in ("PostgreSQL 1", f"extension apex_saga {installed}", "preloaded", "may read the outbox", "1 table attached"):
        assert said in report
    for store in ("neo4j", "qdrant", "redis"):
        assert f"{store} answers and fits 1 table" in report
    assert well.sql("SELECT epoch, leader FROM apex.pipeline") == [(0, None)]
    assert not well.qdrant.collection_exists("documents") and well.cypher("MATCH (n) RETURN n") == []
    well.sidecar.start()
    assert problems(well) == []


def test_a_database_without_the_extension(well: World) -> None:
    well.pg.execute("DROP EXTENSION apex_saga CASCADE")
    assert says(one_problem(well), "apex_saga is missing in database", well.database, "CREATE EXTENSION apex_saga")


def test_a_role_without_rights(well: World) -> None:
    well.pg.execute("DROP EXTENSION apex_saga CASCADE; CREATE EXTENSION apex_saga")
    assert says(one_problem(well), f"role {SIDECAR_ROLE} has no right", f"apex.grant_sidecar('{SIDECAR_ROLE}')")
    well.pg.execute(f"SELECT apex.grant_sidecar('{SIDECAR_ROLE}')")
    assert problems(well) == []


def test_a_wrong_password_a_wrong_database_and_a_wrong_port_of_postgresql(well: World) -> None:
    address = f"host=127.0.0.1 port={well.stack.postgres.port} user={SIDECAR_ROLE}"
    right = {"APEX_POSTGRES_PASSWORD": well.stack.postgres.password}
    wrong = {"APEX_POSTGRES_DSN": f"{address} dbname={well.database}", "APEX_POSTGRES_PASSWORD": "hunter2"}
    said = one_problem(well, wrong)
    assert says(said, "28P01", "password authentication failed", SIDECAR_ROLE, "check user and password in postgres.dsn")
    assert "hunter2" not in said
    said = one_problem(well, {"APEX_POSTGRES_DSN": f"{address} dbname=nowhere", **right})
    assert says(said, "3D000", "nowhere", "check dbname in postgres.dsn")
    said = one_problem(well, {"APEX_POSTGRES_DSN": f"host=127.0.0.1 port={free_port()} user=x"})
    assert says(said, "Connection refused", "check host and port in postgres.dsn")


def test_every_store_that_cannot_be_reached_is_a_problem_of_its_own(well: World) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    addresses = {"neo4j": f"bolt://{nowhere}", "qdrant": f"http://{nowhere}", "redis": f"redis://{nowhere}"}
    found = problems(well, {f"APEX_{store.upper()}_URI": uri for store, uri in addresses.items()})
    assert [problem.split()[0] for problem, _ in found] == ["neo4j", "qdrant", "redis"]
    for (_, remedy), store in zip(found, addresses, strict=True):
        assert says(remedy, f"check {store}.uri (APEX_{store.upper()}_URI)", "reached from here")


def test_a_wrong_secret_of_a_store(well: World, tmp_path: pathlib.Path) -> None:
    well.redis.config_set("requirepass", "right")
    try:
        assert says(one_problem(well), "redis", "NOAUTH", "check user, password or key of [redis]")
        said = one_problem(well, {"APEX_REDIS_PASSWORD": "hunter2"})
        assert says(said, "redis", "WRONGPASS", "[redis]") and "hunter2" not in said
        assert problems(well, {"APEX_REDIS_PASSWORD": "right"}) == []
    finally:
        well.redis.config_set("requirepass", "")
    if well.stack.qdrant.external:
        return
    guarded = Qdrant(tmp_path / "qdrant", api_key="right")
    guarded.start()
    try:
        at = {"APEX_QDRANT_URI": guarded.uri}
        for key in ({}, {"APEX_QDRANT_API_KEY": "hunter2"}):
            said = one_problem(well, {**at, **key})
            assert says(said, "qdrant", "check user, password or key of [qdrant]") and "hunter2" not in said
        assert problems(well, {**at, "APEX_QDRANT_API_KEY": "right"}) == []
    finally:
        guarded.stop()


def test_a_collection_of_other_dimensions_or_distance(well: World) -> None:
    for size, distance in ((5, models.Distance.COSINE), (4, models.Distance.DOT)):
        well.qdrant.create_collection("documents", vectors_config=models.VectorParams(size=size, distance=distance))
        said = one_problem(well)
        assert says(said, 'collection "documents"', f"{size} dimensions by {distance.value}", "public.documents", "4 dimensions by Cosine")
        assert says(said, "delete the collection", "attach the table to another collection")
        well.qdrant.delete_collection("documents")


def test_a_store_that_is_not_configured_and_that_a_table_needs(well: World) -> None:
    found = problems(well, dict.fromkeys(("APEX_NEO4J_URI", "APEX_NEO4J_USER", "APEX_QDRANT_URI", "APEX_REDIS_URI"), ""))
    assert len(found) == 3
    for (problem, remedy), store in zip(found, ("neo4j", "qdrant", "redis"), strict=True):
        assert says(problem, f"table public.documents is mapped to {store}, which is not configured")
        assert says(remedy, f"set {store}.uri", "detach the table")
    well.pg.execute("SELECT apex.detach('documents')")
    code, report = examine(well, {"APEX_QDRANT_URI": ""})
    assert code == 0 and says(report, "advice", "no table is attached to pipeline default", "apex.attach")


def test_a_mapping_that_this_sidecar_cannot_read(well: World) -> None:
    well.pg.execute("UPDATE apex.mapping SET spec = '{}'")
    assert says(one_problem(well), "different versions")


def test_a_wrong_configuration_is_exit_code_2() -> None:
    done = apex("doctor", variables={"APEX_POSTGRES_DSN": ""})
    assert done.returncode == 2 and "postgres.dsn" in done.stderr and done.stdout == ""


@pytest.fixture
def plain_cluster() -> Iterator[Postgres]:
    """A server without the preloaded library."""
    cluster = Postgres(runtime_directory("doctor"), preload=False)
    cluster.remove()
    cluster.start()
    yield cluster
    cluster.remove()


def test_a_server_without_the_preloaded_library_is_advice_and_a_standby_a_problem(plain_cluster: Postgres) -> None:
    with plain_cluster.connect() as session:
        session.execute("CREATE EXTENSION apex_saga")
        session.execute(f"SELECT apex.grant_sidecar('{SIDECAR_ROLE}')")
    variables = {"APEX_POSTGRES_DSN": plain_cluster.sidecar_dsn}
    done = apex("doctor", variables=variables)
    assert done.returncode == 0
    assert says(done.stdout, "advice", "not preloaded", "polls", "shared_preload_libraries", "nothing is wrong")

    plain_cluster.stop()
    (plain_cluster.data / "standby.signal").touch()
    plain_cluster.start()
    done = apex("doctor", variables=variables)
    assert done.returncode == 1
    assert says(done.stdout, "PROBLEM", "standby", "point postgres.dsn at the primary", "1 problem")
