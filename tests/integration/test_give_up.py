"""engine.give_up_after_ms: a store that stays away takes nobody along for ever; what could not be written is put back and parked."""

from collections.abc import Iterator

import library
import pytest
from gated import Gated
from world import World, wait_until


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    library.create(quiet_world)
    it = Gated(quiet_world, {"APEX_ENGINE_GIVE_UP_AFTER_MS": "300"})
    it.sidecar.start()
    yield it
    it.sidecar.kill()
    it.close()


def test_what_was_given_up_is_put_back_once_the_store_is_there_again_and_can_be_retried(gated: Gated) -> None:
    world = gated.world
    world.pg.execute("INSERT INTO documents (title, embedding) VALUES ('before', '{1,2,3,4}')")
    world.wait_synced()
    gated.gates["qdrant"].refuse()
    world.pg.execute("UPDATE documents SET title = 'after'")
    given_up = wait_until(lambda: world.rows("SELECT * FROM apex.sagas"))[0]
    assert (given_up["failed_step"], given_up["error_type"]) == ("write_qdrant", "gave_up")
    gated.open()
    parked = wait_until(world.parked)[0]
    assert (parked["state"], parked["error_type"]) == ("parked", "gave_up")
    assert [node["title"] for node in world.nodes("Document")] == ["before"]
    world.sql("SELECT apex.retry(%s)", parked["id"])
    world.wait_synced()
    wait_until(lambda: world.parked() == [])
    assert library.differences(world) == []
