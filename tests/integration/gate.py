"""A TCP gate in front of a store: lets everything through until it is told to hold or to cut.

Holding keeps bytes from the client in the gate, so that a process can be killed at an exact place of its conversation:
what it had sent before has arrived, what it sent after never will. Stranding is a network that is gone without a word:
neither end hears anything of the other, not even that it has hung up.
"""

import socket
import threading
from collections.abc import Callable

CHUNK = 65536
# As long as two chunks may be apart for a pattern that is cut between them.
OVERLAP = 128


class Gate:
    """Listens on a free loopback port and forwards to `host:port`. Thread-safe."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lock = threading.Condition()
        self._holding = False
        self._stranding = False
        self._refusing = False
        self._closed = False
        self._held_bytes = 0
        self._triggers: list[tuple[bytes, Callable[[], None]]] = []
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing that the client sends arrives."""
        with self._lock:
            self._holding = True

    def strand(self) -> None:
        """From now on nothing that either end sends arrives, and no connection ends for the other one."""
        with self._lock:
            self._holding = self._stranding = True

    def refuse(self) -> None:
        """Ends every connection, and new ones as soon as they are made."""
        with self._lock:
            self._refusing = True
        self.cut()

    def open(self) -> None:
        """Lets through what was held, and everything after it. Forgets triggers that have not fired."""
        with self._lock:
            self._holding = self._stranding = self._refusing = False
            self._held_bytes = 0
            self._triggers.clear()
            self._lock.notify_all()

    def when(self, pattern: bytes, action: Callable[[], None]) -> None:
        """Calls `action` once, before the first bytes that contain `pattern` are forwarded."""
        with self._lock:
            self._triggers.append((pattern, action))

    def cut(self) -> None:
        """Ends every connection; new ones are let through."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _close(each)

    @property
    def holds_something(self) -> bool:
        with self._lock:
            return self._held_bytes > 0

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                refusing = self._refusing
            if refusing:
                _close(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _close(client)
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        tail = b""
        try:
            while data := source.recv(CHUNK):
                if from_client:
                    self._fire(tail + data)
                    tail = data[-OVERLAP:]
                    self._wait_until_open(len(data))
                else:
                    self._wait_until_not_stranded()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            self._wait_until_not_stranded()
            _close(source)
            _close(sink)

    def _fire(self, data: bytes) -> None:
        with self._lock:
            due = [trigger for trigger in self._triggers if trigger[0] in data]
            self._triggers = [trigger for trigger in self._triggers if trigger not in due]
        for _, action in due:
            action()

    def _wait_until_open(self, size: int) -> None:
        with self._lock:
            if self._holding:
                self._held_bytes += size
            self._lock.wait_for(lambda: not self._holding or self._closed)
            if self._closed:
                raise OSError("the gate is closed")

    def _wait_until_not_stranded(self) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._stranding or self._closed)


def _close(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
