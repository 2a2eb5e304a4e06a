"""Servers that more than one program starts and stops."""

import pathlib

from stores.process import Server


class Sleeper(Server):
    name = "sleeper"

    def command(self) -> list[str]:
        return ["sleep", "600"]

    def is_ready(self) -> bool:
        return True


def test_a_server_that_somebody_else_has_started_again_is_stopped(tmp_path: pathlib.Path) -> None:
    first, second = Sleeper(tmp_path), Sleeper(tmp_path)
    first.start()
    second.stop()
    second.start()
    first.stop()
    assert not first.running and not second.running


def test_a_server_that_was_killed_is_not_running_and_can_be_started_again(tmp_path: pathlib.Path) -> None:
    server = Sleeper(tmp_path)
    server.start()
    server.kill()
    assert not server.running
    server.start()
    server.stop()
    assert not server.running
