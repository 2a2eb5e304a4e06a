"""Free ports of the loopback interface."""

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections, so that no client socket of this machine
# can sit on a port between the moment it is chosen and the moment a server binds it.
_LOWEST, _HIGHEST = 20000, 32000
# What a server of this process is to take, and has not yet perhaps.
_given: set[int] = set()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    for _ in range(1000):
        port = random.randint(_LOWEST, _HIGHEST)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port between {_LOWEST} and {_HIGHEST} on 127.0.0.1")
