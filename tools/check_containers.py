"""`make check-containers`: builds both images and runs them for real, and closes with the line `N passed, N failed`.

No Docker engine is needed: tools/containers/docker has the same commands. The images are built by the commands of
docs/operating/rollout.md, which run first; the tests of tests/containers then look at the images and run them against a
Neo4j, a Qdrant and a Redis of this machine.
"""

import argparse
import fcntl
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from check import Report
from checks import groups, pages
from checks.results import Outcome, Result
from checks.runner import REPORTS, CommandFailed, must, say
from stores import Neo4j, Qdrant, Redis, Server, ServerError, runtime_directory
from stores.paths import ROOT
from stores.ports import free_port

_TOOLS = ROOT / "tools" / "containers"
_PAGE = ROOT / "docs" / "operating" / "rollout.md"
_BASE = "docker.io/library/debian:trixie-slim"
# Layers of earlier builds make the next one quick. What is kept is bounded in age and in size.
_BASE_DAYS_MAX = 7
_STORAGE_BYTES_MAX = 20 << 30


class Stores:
    """A new Neo4j, Qdrant and Redis, each with a password, under `directory`."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.neo4j = Neo4j(directory / "neo4j", password=secrets.token_hex(12))
        self.qdrant = Qdrant(directory / "qdrant", api_key=secrets.token_hex(12))
        self.redis = Redis(directory / "redis")
        self.redis_password = secrets.token_hex(12)

    @property
    def servers(self) -> list[Server]:
        return [self.neo4j, self.qdrant, self.redis]

    def up(self) -> None:
        with ThreadPoolExecutor(len(self.servers)) as pool:
            for started in [pool.submit(server.start) for server in self.servers]:
                started.result()
        with self.redis.client() as client:
            client.config_set("requirepass", self.redis_password)

    def down(self) -> None:
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_secrets(self, home: pathlib.Path) -> None:
        """As somebody who follows the page has put them there."""
        (home / "secrets").mkdir(parents=True)
        for name, value in {
            "neo4j": self.neo4j.password,
            "qdrant": self.qdrant.api_key,
            "redis": self.redis_password,
        }.items():
            (home / "secrets" / name).write_text(value + "\n")

    def variables(self) -> dict[str, str]:
        return {"NEO4J_URI": self.neo4j.uri, "QDRANT_URI": self.qdrant.uri, "REDIS_URI": self.redis.uri}


def docker(*arguments: str) -> None:
    """Complains about nothing: it is for tidying up."""
    subprocess.run([_TOOLS / "docker", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def remove_containers() -> None:
    docker("rm", "--all", "--force", "--volumes", "--time", "5")
    docker("volume", "rm", "--all", "--force")


def remove_images(storage: pathlib.Path) -> None:
    docker("rmi", "--all", "--force")
    shutil.rmtree(storage, ignore_errors=True)


def make_base(storage: pathlib.Path) -> None:
    """Makes the base image unless there is one that is young enough."""
    stamp = storage / "base"
    young = stamp.exists() and time.time() - stamp.stat().st_mtime < _BASE_DAYS_MAX * 86400
    if young and _bytes(storage) < _STORAGE_BYTES_MAX:
        return
    say("making the base image of Debian 13")
    remove_images(storage)
    must([str(_TOOLS / "base.sh")], REPORTS / "containers-base.log", 1500)
    stamp.touch()


def _bytes(directory: pathlib.Path) -> int:
    counted = subprocess.run(["du", "--summarize", "--block-size=1", directory], capture_output=True, text=True, check=True)
    return int(counted.stdout.split()[0])


def version() -> str:
    return re.search(r"project\(apex_saga VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remove", action="store_true", help="only remove the images that earlier runs have kept")
    options = parser.parse_args()
    directory = runtime_directory("containers")
    if options.remove and not (directory / "storage").exists():
        return 0
    if os.geteuid() != 0:
        say("check-containers: debootstrap and containers need root: sudo make check-containers")
        return 1
    REPORTS.mkdir(parents=True, exist_ok=True)
    os.environ["APEX_CONTAINERS"] = str(directory)
    os.environ["PATH"] = f"{_TOOLS}:{os.environ['PATH']}"

    report = Report()
    with (REPORTS / "containers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Stores(directory / "stores").down()  # what an interrupted run left
        remove_containers()
        if options.remove:
            remove_images(directory / "storage")
            return 0
        stores = Stores(directory / "stores")
        try:
            make_base(directory / "storage")
            stores.up()
            home = directory / "home"
            shutil.rmtree(home, ignore_errors=True)
            stores.write_secrets(home)
            environment = {"APEX_HOME": str(home), "OLD": version(), "NEW": f"{version()}-next", **stores.variables()}
            ports = {"PGPORT": str(free_port()), "HTTP_PORT": str(free_port())}
            steps: list[tuple[str, Callable[[], list[Result]]]] = [
                ("rollout", lambda: pages.run(_PAGE, {**environment, **ports}, 3600)),
                ("containers", lambda: groups.containers(environment)),
            ]
            report.run(steps)
        except (CommandFailed, ServerError) as failed:
            reason = str(failed)
            report.run([("set-up", lambda: [Result("set-up", Outcome.FAILED, reason)])])
        finally:
            remove_containers()
            stores.down()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
