"""A sidecar that stops just before it sends certain bytes to a store, and goes on when it is told to."""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit

from stores import Sidecar
from world import World, wait_until

SOURCE = pathlib.Path(__file__).with_name("stop_before_send.c")


class Stopped:
    """The sidecar is made but not started; `variables` override its settings."""

    def __init__(self, world: World, store: str, variables: Mapping[str, str] | None = None) -> None:
        library = world.directory / "stop_before_send.so"
        compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        self._order = world.directory / "stop_at"
        settings = world.stack.sidecar_variables(world.database)
        self.sidecar: Sidecar = world.another_sidecar(
            {
                "LD_PRELOAD": str(library),
                "APEX_STOP_FILE": str(self._order),
                "APEX_STOP_PORT": str(urlsplit(settings[f"APEX_{store.upper()}_URI"]).port),
                **(variables or {}),
            }
        )

    def at(self, sent: str) -> None:
        """Stops before the next send that contains this text."""
        draft = self._order.with_suffix(".new")
        draft.write_text(sent)
        draft.rename(self._order)

    def wait(self) -> None:
        wait_until(self._is_stopped, message="nothing of the kind was sent")

    def resume(self) -> None:
        self.sidecar.resume()

    def _is_stopped(self) -> bool:
        stat = pathlib.Path(f"/proc/{self.sidecar.pid}/stat").read_text()
        return not self._order.exists() and stat.rpartition(")")[2].split()[0] == "T"
