"""Containers, as the tests see them."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

DEADLINE_SECONDS = 60.0


def docker(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    """Returns what the command printed; a command that fails fails the test with its words."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, input=stdin, timeout=300, check=False)
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def exit_code(*arguments: str) -> int:
    return subprocess.run(["docker", *arguments], capture_output=True, timeout=300, check=False).returncode


def wait_until(condition: Callable[[], Any], message: Callable[[], str], seconds: float = DEADLINE_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} s\n{message()}"
        time.sleep(0.05)


class Container:
    """One container, running or not. `with` removes it and its volumes in the end."""

    def __init__(self, name: str, image: str, options: list[str], command: list[str] | None = None) -> None:
        self.name = name
        docker("run", "--detach", "--name", name, *options, image, *(command or []))

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        docker("rm", "--force", "--volumes", "--time", "5", self.name)

    @property
    def state(self) -> dict[str, Any]:
        return self.inspect()["State"]

    def inspect(self) -> dict[str, Any]:
        return json.loads(docker("inspect", "--type", "container", self.name))[0]

    def logs(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout

    def execute(self, *command: str, stdin: str | None = None) -> str:
        return docker("exec", *(["--interactive"] if stdin is not None else []), self.name, *command, stdin=stdin)

    def is_healthy(self) -> bool:
        """What the image's own HEALTHCHECK says now."""
        return exit_code("healthcheck", "run", self.name) == 0

    def wait_healthy(self) -> None:
        def healthy_or_over() -> bool:
            return self.is_healthy() or not self.state["Running"]

        wait_until(healthy_or_over, self.logs)
        assert self.state["Running"], self.logs()

    def wait_ended(self) -> int:
        """The exit code, once it has ended."""
        wait_until(lambda: not self.state["Running"], self.logs)
        return self.state["ExitCode"]

    def start(self) -> None:
        """Starts it again after it has ended."""
        docker("start", self.name)
        self.wait_healthy()

    def stop(self) -> int:
        """Stops it as `docker stop` does, with its image's signal; the exit code."""
        docker("stop", "--time", "30", self.name)
        return self.wait_ended()
