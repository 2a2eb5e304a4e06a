"""`apex` as somebody at a terminal calls it: arguments and environment in; exit code, output and errors out."""

import os
import subprocess
from collections.abc import Mapping

from stores.sidecar import apex_program


def apex(*arguments: str, variables: Mapping[str, str] | None = None, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Fails the test when the command has not ended in time. APEX_* of the caller's own environment is not passed on."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("APEX_")}
    return subprocess.run(
        [str(apex_program()), *arguments],
        env={**inherited, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
