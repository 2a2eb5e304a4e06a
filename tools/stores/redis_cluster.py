"""Several private Redis servers as a cluster, or as a primary with its replica and sentinels."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import redis

from stores.ports import free_port
from stores.process import ServerError, wait_until
from stores.redis_server import Redis

PRIMARIES = 3
SLOTS = 16384
# How long a server may be silent before the others replace it.
NODE_TIMEOUT_MS = 1000


class RedisCluster:
    """Three primaries with a replica each. `options` are settings of every server."""

    def __init__(self, directory: pathlib.Path, options: Mapping[str, str] | None = None) -> None:
        self.nodes = [
            Redis(
                directory / str(number),
                options={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                    # Not the port plus 10000, which a client of this machine may sit on.
                    "cluster-port": str(free_port()),
                    # A replica takes over however long it has not heard of its primary.
                    "cluster-replica-validity-factor": "0",
                    **(options or {}),
                },
            )
            for number in range(2 * PRIMARIES)
        ]

    @property
    def uri(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def client(self) -> redis.RedisCluster:
        return redis.RedisCluster(host="127.0.0.1", port=self._alive()[0].port, decode_responses=True)

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        first, *others = self.nodes
        per_primary = -(-SLOTS // PRIMARIES)
        for number, node in enumerate(self.nodes[:PRIMARIES]):
            _do(node, "CLUSTER", "ADDSLOTSRANGE", number * per_primary, min((number + 1) * per_primary, SLOTS) - 1)
        for node in others:
            _do(first, "CLUSTER", "MEET", "127.0.0.1", node.port, node.options["cluster-port"])
        self._wait(lambda: all(len(_known(node)) == len(self.nodes) for node in self.nodes), "the servers do not meet")
        for primary, replica in zip(self.nodes[:PRIMARIES], self.nodes[PRIMARIES:], strict=True):
            _do(replica, "CLUSTER", "REPLICATE", _do(primary, "CLUSTER", "MYID"))
        self._wait(self._is_whole, "the cluster is not whole")

    def primary_of(self, key: str) -> Redis:
        """The server that holds the key's slot, as those that are alive have it."""
        alive = self._alive()
        slot = _do(alive[0], "CLUSTER", "KEYSLOT", key)
        for first, last, (_, port, *_), *_ in _slots(alive[0]):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise ServerError(f"nobody serves slot {slot}")

    def move(self, key: str, target: Redis, during: Callable[[], None] = lambda: None) -> None:
        """Moves the key's slot with all that is in it; `during` is called while half of it has been moved."""
        source = self.primary_of(key)
        slot = _do(source, "CLUSTER", "KEYSLOT", key)
        source_id, target_id = (_do(node, "CLUSTER", "MYID") for node in (source, target))
        _do(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        _do(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        held = _do(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        for number, each in enumerate(held):
            if number == len(held) // 2:
                during()
            _do(source, "MIGRATE", "127.0.0.1", target.port, each, 0, 5000)
        if left := _do(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000):
            _do(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *left)
        for node in (target, source):
            _do(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def stop(self) -> None:
        for node in self.nodes:
            if node.running:
                node.kill()

    def _alive(self) -> list[Redis]:
        return [node for node in self.nodes if node.running]

    def _is_whole(self) -> bool:
        return all(
            "cluster_state:ok" in _text(node, "CLUSTER", "INFO") and len(_slots(node)) == PRIMARIES
            and all(len(one) == 4 for one in _slots(node))
            for node in self.nodes
        ) and all("master_link_status:up" in _text(node, "INFO", "replication") for node in self.nodes[PRIMARIES:])

    @staticmethod
    def _wait(condition: Callable[[], bool], otherwise: str) -> None:
        if not wait_until(condition, 60):
            raise ServerError(otherwise)


class Sentinel(Redis):
    """One of those that watch over the primary called `service`."""

    name = "sentinel"

    def __init__(self, directory: pathlib.Path, service: str, primary: Redis, quorum: int) -> None:
        super().__init__(directory)
        self.service, self.primary, self.quorum = service, primary, quorum

    def prepare(self) -> None:
        (self.directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor {self.service} 127.0.0.1 {self.primary.port} {self.quorum}\n"
            f"sentinel down-after-milliseconds {self.service} {NODE_TIMEOUT_MS}\n"
            f"sentinel failover-timeout {self.service} 5000\n"
        )

    def command(self) -> Sequence[str]:
        return ["redis-server", str(self.directory / "sentinel.conf"), "--sentinel"]


class SentinelGroup:
    """A primary, a replica and three sentinels."""

    service = "main"

    def __init__(self, directory: pathlib.Path) -> None:
        self.primary = Redis(directory / "primary")
        self.replica = Redis(directory / "replica")
        self.sentinels = [Sentinel(directory / f"sentinel-{number}", self.service, self.primary, 2) for number in range(3)]

    @property
    def uri(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        _do(self.replica, "REPLICAOF", "127.0.0.1", self.primary.port)
        for sentinel in self.sentinels:
            sentinel.start()
        whole = lambda: all(  # noqa: E731
            _watched(sentinel)["num-slaves"] == 1 and _watched(sentinel)["num-other-sentinels"] == 2 for sentinel in self.sentinels
        )
        if not wait_until(whole, 60):
            raise ServerError("the sentinels do not know each other")

    def stop(self) -> None:
        for server in (*self.sentinels, self.primary, self.replica):
            if server.running:
                server.kill()


def _do(node: Redis, *command: object) -> object:
    with node.client() as client:
        return client.execute_command(*command)


def _text(node: Redis, *command: str) -> str:
    """The answer as the server words it."""
    with redis.Redis(host="127.0.0.1", port=node.port) as client:
        client.response_callbacks.clear()
        return client.execute_command(*command).decode()


def _slots(node: Redis) -> list:
    with redis.Redis(host="127.0.0.1", port=node.port, decode_responses=True) as client:
        client.response_callbacks.clear()
        return client.execute_command("CLUSTER", "SLOTS")


def _known(node: Redis) -> list[str]:
    return [line for line in _text(node, "CLUSTER", "NODES").splitlines() if "handshake" not in line]


def _watched(sentinel: Sentinel) -> dict:
    with sentinel.client() as client:
        return client.sentinel_master(sentinel.service)
