"""A private Neo4j from Maven Central, run by tools/stores/neo4j/run.sh."""

import os
import pathlib
import subprocess
from collections.abc import Mapping, Sequence

import neo4j

from stores.paths import ROOT
from stores.process import Server, ServerError

_HOME = ROOT / "tools" / "stores" / "neo4j"


class Neo4j(Server):
    """Without a password anybody on this machine may use it. `jvm` are arguments for its memory and collector."""

    name = "neo4j"
    user = "neo4j"
    ready_seconds = 180.0
    stop_seconds = 60.0

    def __init__(self, directory: pathlib.Path, *, password: str = "", jvm: str = "") -> None:
        super().__init__(directory)
        self._jvm = jvm
        self.password = password

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def driver(self) -> neo4j.Driver:
        return neo4j.GraphDatabase.driver(
            self.uri,
            auth=(self.user, self.password) if self.password else None,
            # The server warns about every label and property that no row has brought yet.
            notifications_min_severity="OFF",
        )

    def command(self) -> Sequence[str]:
        return [str(_HOME / "run.sh"), "--data", str(self.directory / "data"), "--bolt-port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "APEX_NEO4J_PASSWORD": self.password, "APEX_NEO4J_JVM": self._jvm}

    def prepare(self) -> None:
        made = subprocess.run([str(_HOME / "prepare.sh")], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise ServerError(f"Neo4j could not be prepared:\n{made.stdout}{made.stderr}")

    def is_ready(self) -> bool:
        return "\nREADY " in "\n" + self.log_text()
