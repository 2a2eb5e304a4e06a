"""Redis as a cluster of six servers, behind sentinels, encrypted, and with a user of few rights."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator

import pytest
import redis
from command import apex
from stores import Redis, Sidecar
from stores.redis_cluster import RedisCluster, SentinelGroup
from stores.sidecar import apex_program
from world import World, wait_until

DOCUMENTS = """
CREATE TABLE documents (id int PRIMARY KEY, title text);
SELECT apex.attach('documents', cache => apex.cache(entity => 'document', mode => 'write', entry => 'doc:{id}', ttl => '1 hour',
                                                    invalidate => ARRAY['doc:{id}:chunks', 'query:*:{id}:*']));
INSERT INTO documents SELECT n, 'about ' || n FROM generate_series(1, 300) n;
"""


class Cached:
    """A sidecar with Redis as its only store."""

    def __init__(self, world: World, uri: str, client: redis.Redis | redis.RedisCluster, **variables: str) -> None:
        self.world = world
        self.redis = client
        settings = world.stack.sidecar_variables(world.database)
        self.variables = {
            "APEX_POSTGRES_DSN": settings["APEX_POSTGRES_DSN"],
            "APEX_REDIS_URI": uri,
            "APEX_ENGINE_STORE_TIMEOUT_MS": "3000",
            "APEX_ENGINE_BACKOFF_MAX_MS": "500",
            **variables,
        }
        world.pg.execute(DOCUMENTS)
        self.sidecar = self.another()
        self.sidecar.start()
        world.wait_synced()

    def another(self) -> Sidecar:
        nothing = dict.fromkeys(self.world.stack.sidecar_variables(), "")
        return self.world.another_sidecar({**nothing, **self.variables})

    def differences(self) -> list[str]:
        said = []
        for row, title in self.world.sql("SELECT id, title FROM documents"):
            held = self.redis.get(f"doc:{row}")
            if held is None or json.loads(held)["title"] != title:
                said.append(f"entry doc:{row} is {held}, its title should be {title}")
        return said

    def change(self, mark: str) -> None:
        self.world.pg.execute(f"UPDATE documents SET title = title || '{mark}'")

    def query_keys(self) -> list[str]:
        return sorted(self.redis.scan_iter("query:*"))


@pytest.fixture
def cluster(tmp_path: pathlib.Path) -> Iterator[RedisCluster]:
    it = RedisCluster(tmp_path / "cluster")
    try:
        it.start()
        yield it
    finally:
        it.stop()


@pytest.fixture
def cached(quiet_world: World, cluster: RedisCluster) -> Iterator[Cached]:
    with cluster.client() as client:
        yield Cached(quiet_world, cluster.uri, client)


def test_the_store_client_keeps_on_a_cluster_what_it_promises_of_one_server(cluster: RedisCluster) -> None:
    # What is left out looks at the connections of one server, pauses one or speaks to one as another user.
    left_out = "*ConnectsAgainAfterItsConnectionIsCut:*WhatTheServerHasReceived*:*WithoutTheRightToEndConnections*"
    program = subprocess.run(
        [str(apex_program().parents[1] / "live_redis"), "--gtest_brief=1", f"--gtest_filter=-{left_out}"],
        env={**os.environ, "APEX_REDIS_URI": cluster.uri},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert program.returncode == 0, program.stdout


def test_rows_reach_every_server_of_a_cluster_and_leave_it(cached: Cached, cluster: RedisCluster) -> None:
    assert cached.differences() == []
    assert all(node.client().dbsize() > 50 for node in cluster.nodes[:3])
    for row in (1, 2, 3, 150):
        for key in (f"doc:{row}:chunks", f"query:a:{row}:b", f"query::{row}:"):
            cached.redis.set(key, "computed by an application")
    cached.world.pg.execute("DELETE FROM documents WHERE id IN (1, 2, 3)")
    cached.world.wait_synced()
    assert not any(cached.redis.exists(f"doc:{row}") for row in (1, 2, 3))
    assert cached.redis.exists("doc:150:chunks") and not cached.redis.exists("doc:1:chunks")
    assert cached.query_keys() == ["query::150:", "query:a:150:b"]
    verified = apex("verify", variables=cached.variables)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    examined = apex("doctor", variables=cached.variables)
    assert examined.returncode == 0, examined.stdout + examined.stderr


def test_events_are_heard_wherever_somebody_listens(cached: Cached, cluster: RedisCluster) -> None:
    heard = []
    for node in cluster.nodes:
        listener = node.client().pubsub(ignore_subscribe_messages=True)
        listener.subscribe("cache_invalidation")
        wait_until(lambda: listener.subscribed)  # noqa: B023
        listener.get_message(timeout=1)
        heard.append(listener)
    cached.world.pg.execute("UPDATE documents SET title = 'x' WHERE id = 7")
    cached.world.wait_synced()
    for listener in heard:
        # One server hands an event on to the others in its own time: those of the rows before may still be under way.
        wait_until(lambda: document_of(listener.get_message(timeout=1)) == "7")  # noqa: B023


def document_of(message: dict[str, str] | None) -> str | None:
    return message and json.loads(message["data"])["document_id"]


def test_slots_that_move_while_rows_are_written_lose_nothing(cached: Cached, cluster: RedisCluster) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            with cached.world.connect() as session:
                while not stop.is_set():
                    session.execute("UPDATE documents SET title = title || '.' WHERE id <= 40")
                    stop.wait(0.05)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for row in range(1, 11):
            key = f"doc:{row}"
            source = cluster.primary_of(key)
            target = cluster.nodes[(cluster.nodes.index(source) + 1) % 3]
            # With the slot half moved its keys are asked for at both servers.
            cluster.move(key, target, during=lambda: cached.world.wait_synced(cached.world.position()))
    finally:
        stop.set()
        writer.join()
    assert not failed
    cached.world.wait_synced()
    assert cached.differences() == [] and cached.world.parked() == []


def test_a_reader_that_misses_while_its_slot_moves_fills_the_entry_all_the_same(cached: Cached, cluster: RedisCluster) -> None:
    key = "doc:7"
    cached.redis.delete(key)
    for beside in ("{doc:7}:a", "{doc:7}:b"):
        cached.redis.set(beside, "something in the same slot")
    target = cluster.nodes[(cluster.nodes.index(cluster.primary_of(key)) + 1) % 3]
    asking = []

    def refused() -> bool:
        """Entry and lease are of one script, which nobody can run before the slot has moved."""
        return any("errorstat_TRYAGAIN" in node.client().info("errorstats") for node in cluster.nodes)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def read() -> None:
            asking.append(pool.submit(cached.sidecar.get, "/api/v1/cache/document/7"))
            wait_until(refused)

        cluster.move(key, target, during=read)
        status, text = asking[0].result()[:2]
    assert status == 200 and json.loads(text)["title"] == "about 7"
    assert json.loads(cached.redis.get(key))["title"] == "about 7"


def test_a_key_whose_lease_cannot_lie_in_its_slot_is_read_and_never_filled(cached: Cached) -> None:
    cached.world.pg.execute("""
        CREATE TABLE pages (name text PRIMARY KEY, body text);
        SELECT apex.attach('pages', cache => apex.cache('page', columns => ARRAY['body'], invalidate => '{}'));
        INSERT INTO pages VALUES ('a}b', 'old'), ('ab', 'old');
    """)
    cached.world.wait_synced()

    def body(name: str) -> str | None:
        status, text = cached.sidecar.get(f"/api/v1/cache/page/{urllib.parse.quote(name)}")
        return json.loads(text)["body"] if status == 200 else None

    # The mapping is known to readers a moment later.
    assert wait_until(lambda: body("ab")) == "old" and cached.redis.exists("page:ab")
    assert body("a}b") == "old" and not cached.redis.exists("page:a}b")
    cached.redis.set("page:a}b", "filled by a service")
    cached.world.pg.execute("UPDATE pages SET body = 'new'")
    cached.world.wait_synced()
    assert body("a}b") == "new" and body("ab") == "new" and not cached.redis.exists("page:a}b")


def test_a_prefix_with_a_brace_and_no_hash_tag_is_refused(cached: Cached) -> None:
    examined = apex("doctor", variables={**cached.variables, "APEX_REDIS_KEY_PREFIX": "app}:"})
    assert examined.returncode == 1 and "without a hash tag" in examined.stdout, examined.stdout


def test_a_primary_that_dies_during_invalidation_loses_nothing(cached: Cached, cluster: RedisCluster) -> None:
    for row in range(1, 301):
        cached.redis.set(f"query:x:{row}:y", "computed by an application")
    dying = cluster.nodes[0]
    cached.change("!")
    dying.kill()
    cached.change("?")
    cached.world.wait_synced()
    with cluster.client() as client:
        cached.redis = client
        assert cached.differences() == []
        assert cached.query_keys() == [] and cached.world.parked() == []


def test_a_lost_leader_has_no_connection_to_any_server_of_the_cluster(cached: Cached, cluster: RedisCluster) -> None:
    cached.sidecar.pause()
    successor = cached.another()
    successor.start()
    wait_until(lambda: json.loads(successor.get("/api/v1/status")[1])["role"] == "leader")
    cached.change("!")
    cached.world.wait_synced()
    for node in cluster.nodes:
        names = [client["name"] for client in node.client().client_list() if client["name"].startswith("apex:default:")]
        assert len(names) == 1 and names[0].split(":")[3] == "2", names
    cached.sidecar.resume()
    wait_until(lambda: json.loads(cached.sidecar.get("/api/v1/status")[1])["role"] == "standby")
    assert cached.differences() == []


def test_the_sidecar_follows_the_primary_that_sentinels_choose(quiet_world: World, tmp_path: pathlib.Path) -> None:
    group = SentinelGroup(tmp_path / "group")
    try:
        group.start()
        cached = Cached(quiet_world, group.uri, group.primary.client())
        assert cached.differences() == []
        cached.change("!")
        group.primary.kill()
        cached.change("?")
        cached.world.wait_synced()
        cached.redis = group.replica.client()
        assert cached.differences() == [] and cached.world.parked() == []
    finally:
        group.stop()


def certificates(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """An authority, and a certificate of it for 127.0.0.1 that serves both sides."""
    files = {name: directory / f"{name}.pem" for name in ("ca", "ca-key", "cert", "key")}
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run(
        [*openssl, "-subj", "/CN=apex test", "-keyout", files["ca-key"], "-out", files["ca"]], check=True, capture_output=True
    )
    subprocess.run(
        [*openssl, "-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-CA", files["ca"], "-CAkey", files["ca-key"], "-keyout", files["key"], "-out", files["cert"]],
        check=True, capture_output=True,
    )
    return files


class EncryptedRedis(Redis):
    """Takes only clients that show a certificate of its authority."""

    def __init__(self, directory: pathlib.Path, files: dict[str, pathlib.Path]) -> None:
        super().__init__(directory)
        self.files = files

    def command(self) -> list[str]:
        self.options = {
            "port": "0",
            "tls-port": str(self.port),
            "tls-ca-cert-file": str(self.files["ca"]),
            "tls-cert-file": str(self.files["cert"]),
            "tls-key-file": str(self.files["key"]),
        }
        return list(super().command())

    def client(self) -> redis.Redis:
        return redis.Redis(
            host="127.0.0.1", port=self.port, decode_responses=True, ssl=True, ssl_ca_certs=str(self.files["ca"]),
            ssl_certfile=str(self.files["cert"]), ssl_keyfile=str(self.files["key"]),
        )  # fmt: skip


def test_a_server_with_tls_that_asks_for_a_certificate_and_a_user_of_few_rights(
    quiet_world: World, tmp_path: pathlib.Path
) -> None:
    files = certificates(tmp_path)
    server = EncryptedRedis(tmp_path / "encrypted", files)
    server.start()
    try:
        # What docs/operating/running.md says that the user needs, and nothing more.
        server.client().execute_command(
            "ACL", "SETUSER", "apex", "on", ">se:cret", "~*", "&cache_invalidation", "+ping", "+hello", "+unlink", "+scan", "+mget",
            "+evalsha", "+script|load", "+getrange", "+set", "+publish", "+client|setname", "+client|list", "+client|kill",
        )  # fmt: skip
        uri = f"rediss://apex:se%3Acret@127.0.0.1:{server.port}"
        shown = {"APEX_REDIS_TLS_CA_FILE": str(files["ca"]), "APEX_REDIS_TLS_CERT_FILE": str(files["cert"]),
                 "APEX_REDIS_TLS_KEY_FILE": str(files["key"])}  # fmt: skip
        cached = Cached(quiet_world, uri, server.client(), **shown)
        assert cached.differences() == []
        cached.redis.set("query:x:5:y", "computed by an application")
        cached.change("!")
        cached.world.wait_synced()
        assert cached.differences() == [] and cached.query_keys() == []
        assert apex("doctor", variables=cached.variables).returncode == 0
        assert apex("verify", variables=cached.variables).returncode == 0

        strangers = {name: value for name, value in cached.variables.items() if "TLS" not in name}
        examined = apex("doctor", variables=strangers)
        assert examined.returncode == 1 and "apex.tls_failed" in examined.stdout, examined.stdout
    finally:
        server.stop()
