"""examples/memory: its migrations up, down and up again, what they leave, and its rows on their way into the stores."""

import os
import re
import subprocess

import pytest
from stores import ROOT, SIDECAR_ROLE
from world import World, wait_until

EXAMPLE = ROOT / "examples" / "memory"
INDEXES = {"documents_uuid_idx", "chunks_uuid_idx", "structured_data_uuid_idx"}
TABLES = ("documents", "chunks", "structured_data")
OLD, NEW = 20, 5


class Application:
    """The example in a database of the world, used as its page says: by psql and by its own program."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.pg.execute("DROP EXTENSION apex_saga")
        self.psql("-f", "schema.sql")
        self.write(OLD)

    def psql(self, *arguments: str) -> str:
        return self._run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *arguments)

    def migrate(self, *arguments: str) -> list[str]:
        return self._run("./migrate", *arguments).splitlines()

    def write(self, documents: int) -> None:
        self.psql("-v", f"documents={documents}", "-f", "rows.sql")

    def plan(self, query: str) -> str:
        return self.psql("-c", f"EXPLAIN (COSTS OFF) {query}")

    def indexes(self) -> set[str]:
        """Those of INDEXES that are there, unique and valid."""
        return set(self.world.sql(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique AND indisvalid AND indexrelid::regclass::text = ANY (%s)",
            sorted(INDEXES),
        ))  # fmt: skip

    def _run(self, *command: str) -> str:
        variables = {**os.environ, **self.world.stack.postgres.variables, "PGDATABASE": self.world.database}
        ran = subprocess.run(command, cwd=EXAMPLE, env=variables, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


@pytest.fixture
def application(quiet_world: World) -> Application:
    return Application(quiet_world)


def test_migrations_go_up_down_and_up_again(application: Application) -> None:
    names = sorted(path.name.removesuffix(".up.sql") for path in (EXAMPLE / "migrations").glob("*.up.sql"))
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname <> ALL (%s) ORDER BY 1"
    bookkeeping = ["schema_migrations", "schema_migrations_pkey"]
    before = application.world.sql(tables, bookkeeping)

    assert application.migrate("up") == [f"up   {name}" for name in names]
    assert application.indexes() == INDEXES
    assert application.migrate("up") == [], "there is nothing left to do"
    after = application.world.sql(tables, bookkeeping)

    assert application.migrate("down", str(len(names))) == [f"down {name}" for name in reversed(names)]
    assert application.world.sql(tables, bookkeeping) == before
    application.write(NEW)
    assert application.world.sql("SELECT DISTINCT substr(uuid::text, 15, 1) FROM documents") == ["4"]

    assert application.migrate("up") == [f"up   {name}" for name in names]
    assert application.world.sql(tables, bookkeeping) == after


def test_an_interrupted_index_build_is_completed(application: Application) -> None:
    """What is left of one is an index that is not valid: as one that found two rows of one id."""
    application.migrate("up")
    application.migrate("down", "3")
    twice = application.world.value("SELECT uuid FROM chunks LIMIT 1")
    application.world.pg.execute("UPDATE chunks SET uuid = %s", [twice])
    with pytest.raises(AssertionError, match="chunks_uuid_idx"):
        application.migrate("up")
    assert application.indexes() == {"documents_uuid_idx"}

    application.world.pg.execute("UPDATE chunks SET uuid = uuid7()")
    application.migrate("up")
    assert application.indexes() == INDEXES


def test_new_rows_are_found_by_time_and_old_ones_are_not(application: Application) -> None:
    application.migrate("up")
    application.write(NEW)
    for table in TABLES:
        total = application.world.value(f"SELECT count(*) FROM {table}")
        of_this_hour = f"SELECT * FROM {table} WHERE uuid7_between(uuid, now() - interval '1 hour', now())"
        assert len(application.world.sql(of_this_hour)) == total * NEW // (OLD + NEW)
        newest = f"SELECT uuid FROM {table} WHERE uuid7_between(uuid, '-infinity', now()) ORDER BY uuid DESC LIMIT 3"
        assert application.world.sql(newest) == application.world.sql(f"SELECT uuid FROM {table} ORDER BY id DESC LIMIT 3")
        # So small a table is read whole unless that is ruled out.
        assert f"{table}_uuid_idx" in application.psql("-c", "SET enable_seqscan = off", "-c", f"EXPLAIN {of_this_hour}")


def test_a_month_is_one_partition(application: Application) -> None:
    application.migrate("up")
    application.psql("-c", "SELECT add_recalls_month(day) FROM unnest(ARRAY['2024-01-31', '2024-02-01', '2024-02-29', '2024-03-01']::date[]) AS day")
    application.psql("-c", """
        INSERT INTO recalls (uuid, document_id, question)
          SELECT uuid7(at), 1, 'of ' || at FROM generate_series('2024-01-01 00:00+00'::timestamptz, '2024-03-31 23:00+00', '1 hour') AS at;
        INSERT INTO recalls (uuid, document_id, question) SELECT gen_random_uuid(), 1, 'of version 4' FROM generate_series(1, 100);
    """)  # fmt: skip
    in_months = application.world.sql(
        "SELECT tableoid::regclass::text, count(*) FROM recalls WHERE is_uuid7(uuid) GROUP BY 1 ORDER BY 1"
    )
    assert in_months == [("recalls_2024_01", 31 * 24), ("recalls_2024_02", 29 * 24), ("recalls_2024_03", 31 * 24)]

    constant = application.plan("SELECT * FROM recalls WHERE uuid7_between(uuid, '2024-02-10 00:00+00', '2024-02-20 00:00+00')")
    assert set(re.findall(r"recalls_(?:\d+_\d+|other)\b(?!_pkey)", constant)) == {"recalls_2024_02"}
    moving = application.plan("SELECT * FROM recalls WHERE uuid7_between(uuid, now() - interval '1 minute', now())")
    assert "Subplans Removed" in moving


def test_rows_old_and_new_arrive_in_the_stores(application: Application) -> None:
    world = application.world
    application.migrate("up")
    world.sql("SELECT apex.grant_sidecar(%s)", SIDECAR_ROLE)
    world.sidecar.start()
    application.write(NEW)
    documents = OLD + NEW
    wanted = {"Document": documents, "Chunk": 3 * documents, "Fact": 2 * documents, "PART_OF": 3 * documents, "STATED_IN": 2 * documents,
              "points": 3 * documents, "entries": documents}  # fmt: skip

    def found() -> dict[str, int]:
        labels = {label: len(world.nodes(label)) for label in ("Document", "Chunk", "Fact")}
        relations = {kind: world.cypher(f"MATCH ()-[r:{kind}]->() RETURN count(r) AS n")[0]["n"] for kind in ("PART_OF", "STATED_IN")}
        return {**labels, **relations, "points": world.point_count("chunks"), "entries": len(world.redis.keys("doc:*"))}

    wait_until(lambda: all(table["finished_at"] for table in backfills(world)), message=lambda: str(backfills(world)))
    world.wait_synced()
    assert found() == wanted
    assert {node["uuid"][14] for node in world.nodes("Document")} == {"4", "7"}


def backfills(world: World) -> list[dict]:
    (pipeline,) = world.value("SELECT apex.status()")["pipelines"]
    return pipeline["backfills"]
