"""The two images, the stores, and a pair of containers that use them.

Run by tools/check_containers.py, which has built the images, put `docker` into the path and named in the environment the
stores and the directory with their secrets.
"""

import contextlib
import dataclasses
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator

import neo4j
import psycopg
import pytest
import qdrant_client
import redis
from engine import Container, docker
from stores.ports import free_port

SIDECAR_USER = 10001


@dataclasses.dataclass
class Stores:
    neo4j: neo4j.Driver
    qdrant: qdrant_client.QdrantClient
    redis: redis.Redis


@dataclasses.dataclass
class Pair:
    """A PostgreSQL and a sidecar in containers, and a superuser's session in the database."""

    postgres: Container
    sidecar: Container
    login: str
    secrets: list[str]
    start_standby: Callable[[], Container]
    pg: psycopg.Connection = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """A new session, for the first time and after the server was restarted."""
        self.pg = psycopg.connect(self.login, autocommit=True)

    def wait_synced(self) -> None:
        said = self.pg.execute("CALL apex.wait_synced(apex.position(), '60 s', NULL)").fetchone()[0]
        assert said == "synced", f"{said}\n{self.sidecar.logs()}"


@pytest.fixture(scope="session")
def sidecar_image() -> str:
    return f"apex:{os.environ['OLD']}"


@pytest.fixture(scope="session")
def postgres_image() -> str:
    return f"apex-postgres:{os.environ['OLD']}"


@pytest.fixture(scope="session", autouse=True)
def images(sidecar_image: str, postgres_image: str) -> None:
    """Nothing can be said when the page that builds them has failed."""
    for image in (sidecar_image, postgres_image):
        docker("image", "inspect", image)


@pytest.fixture(scope="session")
def store_secrets() -> dict[str, str]:
    home = pathlib.Path(os.environ["APEX_HOME"]) / "secrets"
    return {name: (home / name).read_text().strip() for name in ("neo4j", "qdrant", "redis")}


@pytest.fixture(scope="session")
def stores(store_secrets: dict[str, str]) -> Iterator[Stores]:
    graph = neo4j.GraphDatabase.driver(
        os.environ["NEO4J_URI"], auth=("neo4j", store_secrets["neo4j"]), notifications_min_severity="OFF"
    )
    vectors = qdrant_client.QdrantClient(
        host="127.0.0.1",
        grpc_port=int(os.environ["QDRANT_URI"].rpartition(":")[2]),
        https=False,
        api_key=store_secrets["qdrant"],
        prefer_grpc=True,
        timeout=30,
        # It would ask the REST port for the version, which the gateway does not have.
        check_compatibility=False,
    )
    cache = redis.Redis.from_url(os.environ["REDIS_URI"], password=store_secrets["redis"], decode_responses=True)
    yield Stores(graph, vectors, cache)
    graph.close()
    vectors.close()
    cache.close()


@pytest.fixture
def secret_files(tmp_path_factory: pytest.TempPathFactory, store_secrets: dict[str, str]) -> Iterator[pathlib.Path]:
    """A directory with a file a secret, each readable by the one who needs it: root or the sidecar's user."""
    directory = tmp_path_factory.mktemp("secrets")
    for name, value in {**store_secrets, "postgres": secrets.token_hex(12), "sidecar": secrets.token_hex(12)}.items():
        path = directory / name
        path.touch(mode=0o400)
        path.write_text(value + "\n")
        if name != "postgres":
            os.chown(path, SIDECAR_USER, SIDECAR_USER)
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def pair(secret_files: pathlib.Path, sidecar_image: str, postgres_image: str) -> Iterator[Pair]:
    """Both images as the pages say: secrets by file, the sidecar without capabilities and without a file to write."""
    port = free_port()
    mount = ["--volume", f"{secret_files}:/run/secrets:ro"]
    database = [
        *("--env", f"PGPORT={port}", "--env", "POSTGRES_DB=app"),
        *("--env", "POSTGRES_PASSWORD_FILE=/run/secrets/postgres", "--env", "APEX_SIDECAR_PASSWORD_FILE=/run/secrets/sidecar"),
        *mount,
    ]
    settings = {
        # So long that a disk which is busy with making containers is not taken for a leader that is gone.
        "APEX_ENGINE_LEASE_MS": "15000",
        "APEX_POSTGRES_DSN": f"host=127.0.0.1 port={port} dbname=app user=apex_sidecar",
        "APEX_POSTGRES_PASSWORD_FILE": "/run/secrets/sidecar",
        "APEX_NEO4J_URI": os.environ["NEO4J_URI"],
        "APEX_NEO4J_PASSWORD_FILE": "/run/secrets/neo4j",
        "APEX_QDRANT_URI": os.environ["QDRANT_URI"],
        "APEX_QDRANT_API_KEY_FILE": "/run/secrets/qdrant",
        "APEX_REDIS_URI": os.environ["REDIS_URI"],
        "APEX_REDIS_PASSWORD_FILE": "/run/secrets/redis",
    }
    variables = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    confined = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]

    def start_sidecar(name: str) -> Container:
        listen = ["--env", f"APEX_HTTP_LISTEN=127.0.0.1:{free_port()}"]
        return Container(name, sidecar_image, [*variables, *listen, *mount, *confined])

    known = [path.read_text().strip() for path in secret_files.iterdir()]
    with contextlib.ExitStack() as ending:
        listen = ["-c", "listen_addresses=127.0.0.1"]
        postgres = ending.enter_context(Container("test-postgres", postgres_image, database, listen))
        postgres.wait_healthy()
        sidecar = ending.enter_context(start_sidecar("test-sidecar"))
        sidecar.wait_healthy()
        password = (secret_files / "postgres").read_text().strip()
        login = f"host=127.0.0.1 port={port} dbname=app user=postgres password={password}"
        made = Pair(postgres, sidecar, login, known, lambda: ending.enter_context(start_sidecar("test-standby")))
        ending.callback(lambda: made.pg.close())
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that waits for something that never comes must not hold up the others."""
    for item in items:
        item.add_marker(pytest.mark.timeout(300))
