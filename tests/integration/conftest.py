"""Real stores for the tests, started once, and a fresh world for each test.

    def test_a_row_arrives(world):
        world.sql("CREATE TABLE ...")
        world.sql("SELECT apex.attach(...)")
        world.sql("INSERT ...")
        world.wait_synced()
        assert world.node("Document", id=...)["title"] == "..."
"""

import fcntl
import os
import pathlib
from collections.abc import Iterator

import pytest

from stores import runtime_directory
from stores.stack import Stack
from world import World


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The four stores. Those of APEX_TEST_STACK are used when given; what this session started, it ends."""
    directory = pathlib.Path(os.environ.get("APEX_TEST_STACK") or runtime_directory("tests"))
    with (directory / "lock").open("w") as lock:
        # Two sessions on the same stores would empty them under each other's feet.
        fcntl.flock(lock, fcntl.LOCK_EX)
        stores = Stack(directory)
        found = [server for server in stores.servers if server.running]
        stores.up()
        yield stores
        for server in stores.servers:
            if server not in found:
                server.stop()


@pytest.fixture
def quiet_world(stack: Stack, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """Empty stores and a database with the extension; the sidecar is made but not started."""
    fresh = World(stack, tmp_path)
    yield fresh
    failed = getattr(request.node, "apex_failed", False)
    fresh.close(show_log=failed)


@pytest.fixture
def world(quiet_world: World) -> World:
    """The same with the sidecar running and ready."""
    quiet_world.sidecar.start()
    return quiet_world


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # noqa: ANN201
    """Lets the fixtures know whether the test failed: the sidecar's log is then part of the report."""
    outcome = yield
    if outcome.get_result().failed:
        item.apex_failed = True  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that waits for something that never comes must not hold up the others; one whose thread has died has failed."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"))
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))
