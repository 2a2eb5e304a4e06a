"""Qdrant over TLS and with a key: whom the sidecar trusts, and what it says of a server that it does not."""

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from command import apex
from qdrant_client import grpc as api
from world import World

from stores import ROOT
from stores.process import Server

KEY = "the-key"
TABLE = """
CREATE TABLE documents (id bigint PRIMARY KEY, title text, embedding real[]);
SELECT apex.attach('documents', vector => apex.vector('documents', 'embedding', dimensions => 2, payload => ARRAY['title']));
"""


def certificate(directory: pathlib.Path, names: str) -> tuple[pathlib.Path, pathlib.Path]:
    """A certificate that signs itself, and its key."""
    made, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    arguments = ["-subj", "/CN=apex test", "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(made)]
    subprocess.run([*command, *arguments], check=True, capture_output=True)
    return made, key


class SecureQdrant(Server):
    name = "qdrant"

    def __init__(self, directory: pathlib.Path, names: str) -> None:
        super().__init__(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate, self.private_key = certificate(directory, names)

    def command(self) -> list[str]:
        gateway = ROOT / "tools" / "stores" / "qdrant" / "gateway.py"
        secrets = ["--api-key", KEY, "--certificate", str(self.certificate), "--private-key", str(self.private_key)]
        return [sys.executable, str(gateway), "--port", str(self.port), "--data", str(self.directory / "data"), *secrets]

    def is_ready(self) -> bool:
        return "\nREADY https://" in "\n" + self.log_text()

    def variables(self, *, trusted: bool = True, key: str = KEY) -> dict[str, str]:
        said = {"APEX_QDRANT_URI": f"https://localhost:{self.port}", "APEX_QDRANT_API_KEY": key}
        return {**said, "SSL_CERT_FILE": str(self.certificate)} if trusted else said

    def points(self, collection: str) -> list[int]:
        trust = grpc.ssl_channel_credentials(self.certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{self.port}", trust) as channel:
            found = api.PointsStub(channel).Scroll(api.ScrollPoints(collection_name=collection), metadata=[("api-key", KEY)])
        return [point.id.num for point in found.result]


def started(directory: pathlib.Path, names: str) -> Iterator[SecureQdrant]:
    server = SecureQdrant(directory / "secure", names)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def qdrant(tmp_path: pathlib.Path) -> Iterator[SecureQdrant]:
    yield from started(tmp_path, "DNS:localhost")


@pytest.fixture
def elsewhere(tmp_path: pathlib.Path) -> Iterator[SecureQdrant]:
    yield from started(tmp_path, "DNS:localhost.elsewhere.example,IP:127.0.0.2")


def examine(world: World, variables: dict[str, str]) -> str:
    done = apex("doctor", variables={**world.stack.sidecar_variables(world.database), **variables})
    assert done.returncode == (0 if "nothing is wrong" in done.stdout else 1)
    return done.stdout


def test_rows_arrive_over_tls_with_the_key(quiet_world: World, qdrant: SecureQdrant) -> None:
    quiet_world.pg.execute(TABLE)
    assert "qdrant answers and fits 1 table" in examine(quiet_world, qdrant.variables())
    quiet_world.another_sidecar(qdrant.variables()).start()
    quiet_world.sql("INSERT INTO documents VALUES (1, 'one', '{1,2}')")
    quiet_world.wait_synced()
    assert qdrant.points("documents") == [1]


def test_a_certificate_that_nobody_trusts_is_refused(quiet_world: World, qdrant: SecureQdrant) -> None:
    quiet_world.pg.execute(TABLE)
    report = examine(quiet_world, qdrant.variables(trusted=False))
    assert "PROBLEM" in report and "UNAVAILABLE" in report


def test_a_trusted_certificate_of_another_host_is_refused(quiet_world: World, elsewhere: SecureQdrant) -> None:
    quiet_world.pg.execute(TABLE)
    report = examine(quiet_world, elsewhere.variables())
    assert "PROBLEM" in report and "UNAVAILABLE" in report


def test_a_wrong_key_is_the_stores_trouble_and_stays_secret(quiet_world: World, qdrant: SecureQdrant) -> None:
    quiet_world.pg.execute(TABLE)
    report = examine(quiet_world, qdrant.variables(key="not-the-key"))
    assert "PROBLEM" in report and "UNAUTHENTICATED" in report and "not-the-key" not in report
