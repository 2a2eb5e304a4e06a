"""What befalls the processes: killed, stopped, cut off. Every fault ends before it is counted."""

import collections
import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from gated import Gated
from stores import Server, Sidecar
from stores.stack import Stack

# Of the sidecars: no call lasts longer, and a fault may.
STORE_TIMEOUT_SECONDS = 2.0
LEASE_SECONDS = 1.5
STOPPED_SECONDS_MAX = 5.0


class Faults:
    """Two injectors at work at once, never on the same process. `counts` says what was done, by its name."""

    def __init__(self, stack: Stack, replicas: list[Gated], seed: int, *, log: Callable[[str], None]) -> None:
        self._stack, self._replicas, self._log = stack, replicas, log
        self._over = threading.Event()
        self._began = time.monotonic()
        self._busy: Mapping[Server, threading.Lock] = collections.defaultdict(threading.Lock)
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + number),), daemon=True) for number in range(2)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when everything runs again."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, dice: random.Random) -> None:
        kinds: list[tuple[int, Callable[[random.Random], str]]] = [
            (6, self._kill_sidecar),
            (2, self._end_sidecar),
            (4, self._stop_sidecar),
            (6, self._cut_connections),
            (5, self._hold_connections),
            (4, self._stop_store),
            (1, self._kill_store),
            (1, self._crash_postgres),
        ]
        weights = [weight for weight, _ in kinds]
        while not self._over.wait(dice.uniform(0.05, 0.8)):
            (_, fault) = dice.choices(kinds, weights)[0]
            try:
                self.counts[fault(dice)] += 1
            except BaseException as failed:  # noqa: BLE001 - whatever it is, the run fails with it
                self.failures.append(failed)
                return

    @contextlib.contextmanager
    def _alone(self, server: Server, what: str) -> Iterator[str]:
        """`server` is the other injector's as little as anybody's; yields the fault's name."""
        with self._busy[server]:
            self._log(f"{time.monotonic() - self._began:7.2f} s  {what}")
            yield what

    def _wait(self, seconds: float) -> None:
        """Ends early with the run."""
        self._over.wait(seconds)

    # Sidecars

    def _kill_sidecar(self, dice: random.Random) -> str:
        replica = self._leader() if dice.random() < 0.7 else dice.choice(self._replicas)
        with self._alone(replica.sidecar, "sidecar killed") as said:
            replica.sidecar.kill()
            self._wait(dice.choice([0, 0, 1, 3]))
            replica.sidecar.launch()
            return said

    def _end_sidecar(self, dice: random.Random) -> str:
        replica = dice.choice(self._replicas)
        with self._alone(replica.sidecar, "sidecar ended and started") as said:
            replica.sidecar.stop()
            replica.sidecar.launch()
            return said

    def _stop_sidecar(self, dice: random.Random) -> str:
        replica = self._leader()
        with self._alone(replica.sidecar, "sidecar stopped for a while") as said:
            replica.sidecar.pause()
            self._wait(dice.choice([0.3, LEASE_SECONDS, LEASE_SECONDS + STORE_TIMEOUT_SECONDS, STOPPED_SECONDS_MAX]))
            replica.sidecar.resume()
            return said

    def _leader(self) -> Gated:
        for replica in self._replicas:
            if replica.sidecar.running and "\napex_leader 1" in replica.sidecar.get("/metrics", timeout=1)[1]:
                return replica
        return self._replicas[0]

    # The network

    def _cut_connections(self, dice: random.Random) -> str:
        replica = self._leader() if dice.random() < 0.8 else dice.choice(self._replicas)
        store = dice.choice(list(replica.gates))
        self._log(f"{time.monotonic() - self._began:7.2f} s  connections to {store} cut")
        replica.gates[store].cut()
        return f"connections to {store} cut"

    def _hold_connections(self, dice: random.Random) -> str:
        """What is sent meanwhile arrives late, perhaps after its sender has given it up, or has been replaced."""
        replica = self._leader()
        stores = dice.sample(list(replica.gates), dice.choice([1, 1, 2, 4]))
        what = f"connections to {' and '.join(sorted(stores))} held"
        self._log(f"{time.monotonic() - self._began:7.2f} s  {what}")
        replica.hold(*stores)
        self._wait(dice.uniform(0.1, STORE_TIMEOUT_SECONDS + 1))
        for store in stores:
            if dice.random() < 0.3:
                replica.gates[store].cut()
            replica.gates[store].open()
        return "connections held"

    # Stores

    def _stop_store(self, dice: random.Random) -> str:
        server = dice.choice(self._stack.servers)
        with self._alone(server, f"{server.name} stopped for a while") as said:
            server.pause()
            self._wait(dice.uniform(0.1, STOPPED_SECONDS_MAX))
            server.resume()
            return said

    def _kill_store(self, dice: random.Random) -> str:
        server = dice.choice([self._stack.neo4j, self._stack.qdrant, self._stack.redis])
        with self._alone(server, f"{server.name} killed") as said:
            server.kill()
            self._wait(dice.choice([0, 1]))
            self._start(server)
            return said

    def _crash_postgres(self, dice: random.Random) -> str:
        server = self._stack.postgres
        with self._alone(server, "postgres shut down immediately") as said:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGQUIT)
            while server.running:
                time.sleep(0.01)
            self._wait(dice.choice([0, 1]))
            self._start(server)
            return said

    def _start(self, server: Server) -> None:
        """On the port that it had, which the gates lead to."""
        port = server.port
        server.start()
        assert server.port == port, f"somebody took port {port} while {server.name} was down"
