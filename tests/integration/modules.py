"""Libraries that tests load into a server, compiled from tests/integration/modules for the installation that PG_CONFIG names."""

import os
import pathlib
import subprocess

from stores import runtime_directory
from stores.paths import ROOT

_SOURCES = pathlib.Path(__file__).parent / "modules"


def _pg_config(what: str) -> str:
    command = [os.environ.get("PG_CONFIG", "pg_config"), what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def build(name: str) -> pathlib.Path:
    """The library of modules/<name>, where the server's user can read it."""
    source = next(_SOURCES.glob(f"{name}.c*"))
    # One that a running server has open is not written over.
    library = runtime_directory("modules") / str(os.getpid()) / f"{name}.so"
    if library.exists():
        return library
    library.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    compiler = ["gcc"]
    if source.suffix == ".cpp":
        # As the extension itself is compiled and linked.
        hidden = ["-fvisibility=hidden", '-DPGDLLEXPORT=__attribute__((visibility("default")))', f"-I{ROOT / 'extension/src'}"]
        compiler = ["g++", "-std=c++20", *hidden, "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"]
    flags = ["-O1", "-fPIC", "-shared", "-isystem", _pg_config("--includedir-server")]
    subprocess.run([*compiler, *flags, "-o", str(library), str(source)], check=True)
    return library
