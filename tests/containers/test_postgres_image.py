"""PostgreSQL's image: it is told what the well-known one is told, and a first start is all or nothing."""

import gzip
import pathlib
import subprocess

import pytest
from engine import Container, docker, wait_until
from stores.ports import free_port

LISTEN = ["-c", "listen_addresses=127.0.0.1"]


@pytest.fixture
def given() -> list[str]:
    """What every start here needs: a port of its own, and a superuser's password."""
    return ["--env", f"PGPORT={free_port()}", "--env", "POSTGRES_PASSWORD=o'ne \"two\" $three"]


def sql(postgres: Container, statement: str, *, user: str = "postgres", database: str = "postgres") -> str:
    options = ["--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--username", user, "--dbname", database]
    return postgres.execute("psql", *options, "--command", statement).strip()


def test_extension_is_preloaded_and_pgvector_is_there(postgres_image: str, given: list[str]):
    with Container("test-postgres", postgres_image, given, LISTEN) as postgres:
        postgres.wait_healthy()
        assert sql(postgres, "SHOW shared_preload_libraries") == "apex_saga"
        assert sql(postgres, "SELECT extname FROM pg_extension WHERE extname = 'apex_saga'") == "apex_saga"
        assert sql(postgres, "SELECT name FROM pg_available_extensions WHERE name = 'vector'") == "vector"
        assert sql(postgres, "SHOW server_version_num").startswith("17")


def test_server_is_not_root(postgres_image: str, given: list[str]):
    with Container("test-postgres", postgres_image, given, LISTEN) as postgres:
        postgres.wait_healthy()
        status = pathlib.Path(f"/proc/{postgres.state['Pid']}/status").read_text()
        assert "Uid:\t999\t999\t999\t999" in status


def test_runs_as_another_user_with_a_read_only_root_file_system(postgres_image: str, given: list[str]):
    # podman makes /run and /tmp writable then; Docker has to be told with --tmpfs.
    confined = ["--user", "postgres", "--read-only", "--cap-drop", "ALL"]
    with Container("test-postgres", postgres_image, [*given, *confined], LISTEN) as postgres:
        postgres.wait_healthy()
        assert sql(postgres, "SELECT uuid_version(uuid7())") == "7"


def test_password_is_asked_for_over_the_network(postgres_image: str, given: list[str]):
    with Container("test-postgres", postgres_image, given, LISTEN) as postgres:
        postgres.wait_healthy()
        right = postgres.execute("env", "PGPASSWORD=o'ne \"two\" $three", "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", "SELECT 1")
        assert right.strip() == "1"
        wrong = subprocess.run(
            ["docker", "exec", "--env", "PGPASSWORD=wrong", postgres.name, "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", "SELECT 1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "password authentication failed" in wrong.stderr


def test_names_of_user_database_and_role_may_be_anything(postgres_image: str, given: list[str]):
    names = ["--env", "POSTGRES_USER=Head of It", "--env", 'POSTGRES_DB=the "app"']
    role = ["--env", "APEX_SIDECAR_ROLE=Side 'car\"", "--env", "APEX_SIDECAR_PASSWORD=p'w"]
    with Container("test-postgres", postgres_image, [*given, *names, *role], LISTEN) as postgres:
        postgres.wait_healthy()
        query = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND has_table_privilege(oid, 'apex.outbox', 'SELECT')"
        assert sql(postgres, query, user="Head of It", database='the "app"') == "Side 'car\""


def test_no_role_is_made_unless_asked_for(postgres_image: str, given: list[str]):
    with Container("test-postgres", postgres_image, given, LISTEN) as postgres:
        postgres.wait_healthy()
        assert sql(postgres, "SELECT count(*) FROM pg_roles WHERE rolcanlogin") == "1"


def test_init_files_run_in_order_once_with_the_extension_in_place(postgres_image: str, given: list[str], tmp_path: pathlib.Path):
    (tmp_path / "1.sql").write_text("CREATE TABLE seen (id uuid DEFAULT uuid7(), what text); INSERT INTO seen (what) VALUES ('sql');")
    (tmp_path / "2.sql.gz").write_bytes(gzip.compress(b"INSERT INTO seen (what) VALUES ('gz');"))
    (tmp_path / "3.sh").write_text("run_sql --command \"INSERT INTO seen (what) VALUES ('sourced')\"\n")
    (tmp_path / "4.sh").write_text("#!/bin/bash\npsql -U \"$POSTGRES_USER\" -d \"$POSTGRES_DB\" -c \"INSERT INTO seen (what) VALUES ('run')\"\n")
    (tmp_path / "4.sh").chmod(0o755)
    (tmp_path / "5.txt").write_text("not for us")
    tmp_path.chmod(0o755)
    mounted = ["--volume", f"{tmp_path}:/docker-entrypoint-initdb.d:ro"]
    with Container("test-postgres", postgres_image, [*given, *mounted], LISTEN) as postgres:
        postgres.wait_healthy()
        assert sql(postgres, "SELECT string_agg(what, ' ' ORDER BY id) FROM seen") == "sql gz sourced run"
        assert postgres.stop() == 0
        postgres.start()
        assert sql(postgres, "SELECT count(*) FROM seen") == "4"


def test_first_start_without_a_password_is_refused(postgres_image: str):
    with Container("test-postgres", postgres_image, ["--env", f"PGPORT={free_port()}"], LISTEN) as postgres:
        assert postgres.wait_ended() == 1
        assert "POSTGRES_PASSWORD is needed" in postgres.logs()


def test_password_and_file_together_are_refused(postgres_image: str, given: list[str]):
    both = ["--env", "POSTGRES_PASSWORD_FILE=/etc/hostname"]
    with Container("test-postgres", postgres_image, [*given, *both], LISTEN) as postgres:
        assert postgres.wait_ended() == 1
        assert "both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set" in postgres.logs()


def test_interrupted_first_start_begins_again(postgres_image: str, given: list[str], tmp_path: pathlib.Path):
    (tmp_path / "1.sql").write_text("CREATE TABLE made_once ();")
    (tmp_path / "2.sql").write_text("SELECT pg_sleep(3600);")
    tmp_path.chmod(0o755)
    mounted = ["--volume", f"{tmp_path}:/docker-entrypoint-initdb.d:ro"]
    with Container("test-postgres", postgres_image, [*given, *mounted], LISTEN) as postgres:
        wait_until(lambda: "2.sql" in postgres.logs(), postgres.logs)
        docker("kill", "--signal", "KILL", postgres.name)
        postgres.wait_ended()
        (tmp_path / "2.sql").write_text("SELECT 1;")
        docker("start", postgres.name)
        postgres.wait_healthy()
        assert "the first start was interrupted" in postgres.logs()
        assert sql(postgres, "SELECT count(*) FROM pg_class WHERE relname = 'made_once'") == "1"


def test_data_that_are_there_are_left_as_they_are(postgres_image: str, given: list[str]):
    volume = ["--volume", "test-kept:/var/lib/postgresql/data"]
    with Container("test-postgres", postgres_image, [*given, *volume], LISTEN) as postgres:
        postgres.wait_healthy()
        sql(postgres, "CREATE TABLE kept AS SELECT 42 AS n")
        assert postgres.stop() == 0
    with Container("test-postgres", postgres_image, [*given, *volume, "--env", "POSTGRES_DB=other"], LISTEN) as postgres:
        postgres.wait_healthy()
        assert sql(postgres, "SELECT n FROM kept") == "42"
        assert sql(postgres, "SELECT count(*) FROM pg_database WHERE datname = 'other'") == "0"
    docker("volume", "rm", "test-kept")


def test_another_command_is_run_as_it_is(postgres_image: str):
    assert docker("run", "--rm", postgres_image, "psql", "--version").startswith("psql (PostgreSQL) 17")
