"""A private Redis."""

import pathlib
from collections.abc import Mapping, Sequence

import redis

from stores.process import Server


class Redis(Server):
    """Keeps nothing over a restart unless `appendonly` is set. `options` are further settings of redis.conf."""

    name = "redis"

    def __init__(self, directory: pathlib.Path, *, appendonly: bool = False, options: Mapping[str, str] | None = None) -> None:
        super().__init__(directory)
        self.appendonly = appendonly
        self.options = dict(options or {})

    @property
    def uri(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True)

    def command(self) -> Sequence[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if self.appendonly else "no",
            "daemonize": "no",
            **self.options,
        }
        return ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))]

    def is_ready(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:  # also while it still loads its file
            return False
