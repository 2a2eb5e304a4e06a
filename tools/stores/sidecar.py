"""The sidecar, `apex run`, as a process that tests can stop, kill and start again."""

import os
import pathlib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from stores.paths import ROOT
from stores.process import Server


def apex_program() -> pathlib.Path:
    """build/release/bin/apex, or the build that APEX_BIN names."""
    return pathlib.Path(os.environ.get("APEX_BIN", ROOT / "build" / "release" / "bin" / "apex"))


class Sidecar(Server):
    """`variables` are its APEX_* settings; those of the caller's own environment are not passed on."""

    name = "apex"
    ready_seconds = 60.0
    stop_seconds = 60.0

    def __init__(
        self, directory: pathlib.Path, variables: Mapping[str, str], *, config: pathlib.Path | None = None
    ) -> None:
        super().__init__(directory)
        self.variables = dict(variables)
        self.config = config

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, timeout: float = 30) -> tuple[int, str]:
        """Status and body of an HTTP GET; (0, reason) when nothing answers."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError as failed:
            return 0, str(failed)

    def command(self) -> Sequence[str]:
        config = ["--config", str(self.config)] if self.config else []
        return [str(apex_program()), "run", *config]

    def environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("APEX_")}
        return {**inherited, "APEX_HTTP_LISTEN": f"127.0.0.1:{self.port}", **self.variables}

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200
