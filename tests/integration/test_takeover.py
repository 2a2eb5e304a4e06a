"""A leader that dies, resigns or sleeps is replaced, and nothing it sends late is written (G1, G2)."""

import json
import re
from collections.abc import Iterator

import library
import pytest
from gated import Gated
from stopped import Stopped
from stores import Sidecar
from world import World, wait_until

# No standby that merely waits for this lease leads before half of it is over, and no stall of the machine makes a leader
# late that is alive.
LEASE_SECONDS = 60
LONG_LEASE = {"APEX_ENGINE_LEASE_MS": f"{LEASE_SECONDS}000"}
# For how long a call of an earlier leader may be under way.
SHORT_TIMEOUT = {"APEX_ENGINE_STORE_TIMEOUT_MS": "5000"}


def role(sidecar: Sidecar) -> str:
    status, body = sidecar.get("/api/v1/status")
    return json.loads(body)["role"] if status == 200 else "gone"


def epochs(sidecar: Sidecar) -> list[int]:
    """Those this process has led in, by its log."""
    return [int(epoch) for epoch in re.findall(r"leading pipeline default in epoch (\d+)", sidecar.log_text())]


def leads(sidecar: Sidecar) -> bool:
    return role(sidecar) == "leader"


def takes_over(world: World, standby: Sidecar, dead: int) -> bool:
    """Whether the standby leads, as if the lease of the epoch before it had run out."""
    world.pg.execute("UPDATE apex.pipeline SET heartbeat = '-infinity' WHERE epoch = %s", [dead])
    return leads(standby)


def write(world: World, count: int = 20) -> None:
    world.pg.execute(f"""
        INSERT INTO authors (name) VALUES ('Ann'), ('Bob');
        INSERT INTO documents (title, author_id, embedding)
          SELECT 'about ' || n, (SELECT id FROM authors ORDER BY name LIMIT 1), ARRAY[n, 1, 0, 0] FROM generate_series(1, {count}) n;
        INSERT INTO chunks SELECT row_number() OVER (), id, 'part of ' || title, embedding FROM documents;
        INSERT INTO cites SELECT row_number() OVER (), a.id, b.id, 7 FROM documents a JOIN documents b ON a.title < b.title LIMIT 30;
    """)


def change(world: World, mark: str, *more: str) -> str:
    """Touches every kind of row: updates, a moved relationship, an edge, an insert. Returns the transaction's position."""
    return world.commit(
        f"UPDATE documents SET title = title || '{mark}', embedding = ARRAY[views, 2, 0, 0], views = views + 1",
        "UPDATE documents SET author_id = (SELECT id FROM authors WHERE id IS DISTINCT FROM documents.author_id LIMIT 1)",
        f"UPDATE chunks SET body = body || '{mark}'",
        "UPDATE cites SET page = page + 1",
        f"INSERT INTO documents (title, embedding) VALUES ('new {mark}', '{{1,2,3,4}}')",
        *more,
    )


def cache(world: World) -> dict[str, str]:
    """Everything in Redis, which is strings alone here."""
    return {key: world.redis.get(key) for key in world.redis.scan_iter()}


def claims(world: World) -> dict[str, list[str]]:
    """The ids of the connections that write to Redis for a leader, by pipeline."""
    found: dict[str, list[str]] = {}
    for client in world.redis.client_list():
        if client["name"].startswith("apex:"):
            found.setdefault(client["name"].split(":")[1], []).append(client["id"])
    return found


# With the chunks and citations of the document.
DELETE = "DELETE FROM documents WHERE id = (SELECT min(id::text)::uuid FROM documents)"


def test_a_standby_takes_over_after_kill_9_and_all_stores_are_equal(quiet_world: World) -> None:
    world = quiet_world
    library.create(world)
    leader, standby = world.another_sidecar(LONG_LEASE), world.another_sidecar(LONG_LEASE)
    leader.start()
    standby.start()
    assert (role(leader), role(standby)) == ("leader", "standby")
    write(world)
    world.wait_synced()
    for round_number in range(3):
        change(world, str(round_number), DELETE)
        leader.kill()
        change(world, "!", DELETE)
        dead = epochs(leader)[-1]
        wait_until(lambda: takes_over(world, standby, dead), message="the standby does not lead")  # noqa: B023
        world.wait_synced()
        assert library.differences(world) == []
        leader.start()
        assert role(leader) == "standby"
        leader, standby = standby, leader
    assert world.parked() == []


def test_a_standby_waits_for_no_longer_than_the_lease(quiet_world: World) -> None:
    """The one that nobody helps along: by the clock alone."""
    library.create(quiet_world)
    leader, standby = quiet_world.another_sidecar(), quiet_world.another_sidecar()
    leader.start()
    standby.start()
    leader.kill()
    wait_until(lambda: leads(standby), message="the standby does not lead")
    write(quiet_world)
    quiet_world.wait_synced()
    assert library.differences(quiet_world) == []


def test_of_many_processes_one_leads_at_a_time_and_each_in_an_epoch_of_its_own(quiet_world: World) -> None:
    library.create(quiet_world)
    sidecars = [quiet_world.another_sidecar(LONG_LEASE) for _ in range(3)]
    for sidecar in sidecars:
        sidecar.launch()
    for sidecar in sidecars:
        sidecar.wait_ready()
    ended: list[int] = []
    for _ in sidecars:
        alive = [sidecar for sidecar in sidecars if sidecar.running]
        dead = ended[-1] if ended else 0
        leader = wait_until(lambda: next((each for each in alive if takes_over(quiet_world, each, dead)), None))  # noqa: B023
        write(quiet_world, 3) if not ended else change(quiet_world, "?")
        quiet_world.wait_synced()
        assert [role(sidecar) for sidecar in alive if sidecar is not leader] == ["standby"] * (len(alive) - 1)
        assert [len(epochs(sidecar)) for sidecar in alive] == [1 if sidecar is leader else 0 for sidecar in alive]
        assert quiet_world.value("SELECT epoch FROM apex.pipeline") == epochs(leader)[0]
        ended.append(epochs(leader)[0])
        leader.kill()
    assert ended == sorted(set(ended))
    assert library.differences(quiet_world) == []


def test_sigterm_resigns_so_that_a_standby_leads_at_once(quiet_world: World) -> None:
    first, second = quiet_world.another_sidecar(LONG_LEASE), quiet_world.another_sidecar(LONG_LEASE)
    first.start()
    second.start()
    assert role(second) == "standby"
    first.ask_to_stop()
    wait_until(lambda: leads(second), LEASE_SECONDS / 2, "the standby waits for the lease")
    wait_until(lambda: not first.running)
    assert first.exit_code == 0
    second.ask_to_stop()
    wait_until(lambda: not second.running)
    assert second.exit_code == 0


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    """A leader behind gates, with twenty documents in all stores."""
    library.create(quiet_world)
    it = Gated(quiet_world, SHORT_TIMEOUT)
    it.sidecar.start()
    write(quiet_world)
    quiet_world.wait_synced()
    yield it
    it.sidecar.kill()
    it.close()


def test_sigterm_finishes_what_is_in_flight_and_settles_it(gated: Gated) -> None:
    world = gated.world
    gated.hold("redis")
    position = change(world, "!", DELETE)
    gated.wait_held("redis")
    gated.sidecar.ask_to_stop()
    wait_until(lambda: "SIGTERM received" in gated.sidecar.log_text())
    assert gated.sidecar.running
    gated.open()
    wait_until(lambda: not gated.sidecar.running)
    assert gated.sidecar.exit_code == 0
    # Nobody leads any more, and yet everything is settled and nothing is left to replay.
    assert world.value("SELECT apex.sync_state(%s::xid8)", position) == "synced"
    assert library.differences(world) == []


def test_sigterm_ends_in_its_deadline_when_a_store_does_not_answer_and_the_next_leader_replays(quiet_world: World) -> None:
    library.create(quiet_world)
    gated = Gated(quiet_world, {"APEX_ENGINE_SHUTDOWN_MS": "500", "APEX_ENGINE_STORE_TIMEOUT_MS": "2000"})
    gated.sidecar.start()
    gated.hold("neo4j")
    write(quiet_world)
    gated.wait_held("neo4j")
    gated.sidecar.ask_to_stop()
    wait_until(lambda: not gated.sidecar.running, message="the shutdown deadline passed long ago")
    assert gated.sidecar.exit_code == 0
    gated.close()
    quiet_world.sidecar.start()
    quiet_world.wait_synced()
    assert library.differences(quiet_world) == []


def test_a_paused_leader_that_wakes_after_its_successor_has_written_writes_nothing_older_over_newer(gated: Gated) -> None:
    world = gated.world
    # What the old leader has on its way arrives after all that its successor wrote: the gates are the slow network.
    gated.hold("neo4j", "qdrant", "redis")
    change(world, " (old)")
    gated.wait_held("neo4j", "qdrant", "redis")
    gated.sidecar.pause()

    successor = world.another_sidecar()
    successor.start()
    wait_until(lambda: leads(successor))
    change(world, " (new)")
    world.wait_synced()
    assert library.differences(world) == []

    gated.open()
    gated.sidecar.resume()
    wait_until(lambda: role(gated.sidecar) == "standby", message="the old leader believes that it leads")
    assert library.differences(world) == []
    assert epochs(gated.sidecar)[-1] < epochs(successor)[-1] == world.value("SELECT epoch FROM apex.pipeline")
    change(world, " (after)")
    world.wait_synced()
    assert library.differences(world) == [] and world.parked() == []


def test_a_late_write_of_the_old_leader_does_not_bring_back_what_its_successor_deleted(gated: Gated) -> None:
    world = gated.world
    gated.hold("neo4j", "qdrant", "redis")
    world.pg.execute("INSERT INTO documents (title, embedding) SELECT 'late', '{1,2,3,4}' FROM generate_series(1, 3)")
    gated.wait_held("neo4j", "qdrant", "redis")
    gated.sidecar.pause()

    successor = world.another_sidecar(SHORT_TIMEOUT)
    successor.start()
    wait_until(lambda: leads(successor))
    world.pg.execute("DELETE FROM documents")
    world.wait_synced()

    gated.open()
    gated.sidecar.resume()
    wait_until(lambda: role(gated.sidecar) == "standby", message="the old leader believes that it leads")
    # A delete leaves no version behind; it is repeated when the old leader's deadlines are over.
    wait_until(lambda: library.differences(world) == [], message=lambda: str(library.differences(world)))


@pytest.mark.parametrize(("store", "sent"), [("neo4j", " (old)"), ("qdrant", " (old)"), ("redis", " (old)"), ("redis", "UNLINK")])
def test_a_leader_stopped_just_before_it_sends_changes_nothing_when_it_wakes(
    quiet_world: World, store: str, sent: str
) -> None:
    world = quiet_world
    library.create(world)
    stopped = Stopped(world, store)
    stopped.sidecar.start()
    write(world)
    world.wait_synced()
    stopped.at(sent)
    change(world, " (old)")
    stopped.wait()

    successor = world.another_sidecar()
    successor.start()
    wait_until(lambda: leads(successor))
    # A delete leaves no version behind in Qdrant, and this one may be older than all deadlines when the leader wakes.
    change(world, " (new)", *([] if store == "qdrant" else [DELETE]))
    world.wait_synced()
    assert library.differences(world) == []
    cached = cache(world)

    stopped.resume()
    wait_until(lambda: role(stopped.sidecar) == "standby", message="the old leader believes that it leads")
    assert cache(world) == cached
    assert [said for said in library.differences(world) if store == "qdrant" or not said.startswith("point ")] == []
    assert world.parked() == []


def test_what_a_stranded_leader_has_sent_is_nothing_when_the_network_is_back(gated: Gated) -> None:
    world = gated.world
    gated.strand("neo4j", "qdrant", "redis")
    change(world, " (old)")
    gated.wait_held("neo4j", "qdrant", "redis")
    gated.strand("postgres")

    successor = world.another_sidecar(SHORT_TIMEOUT)
    successor.start()
    wait_until(lambda: leads(successor))
    change(world, " (new)", DELETE)
    world.wait_synced()
    assert library.differences(world) == []
    cached = cache(world)

    gated.open()
    wait_until(lambda: role(gated.sidecar) == "standby", message="the old leader believes that it leads")
    assert cache(world) == cached
    wait_until(lambda: library.differences(world) == [], message=lambda: str(library.differences(world)))


def test_a_killed_leader_is_replaced_again_and_again(world: World) -> None:
    library.create(world)
    other = world.another_sidecar()
    other.start()
    leader, waiting = world.sidecar, other
    for round_number in range(3):
        world.pg.execute("INSERT INTO documents (title) VALUES ('before')")
        world.wait_synced()
        leader.kill()
        world.pg.execute(f"INSERT INTO documents (title) VALUES ('after {round_number}')")
        world.wait_synced()
        leader.start()
        leader, waiting = waiting, leader


def test_pipelines_have_leaders_of_their_own_that_leave_each_other_alone(quiet_world: World) -> None:
    world = quiet_world
    library.create(world)
    world.pg.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
    world.pg.execute(
        "SELECT apex.attach('orders', pipeline => 'orders',"
        " cache => apex.cache(entity => 'order', mode => 'write', entry => 'order:{id}', ttl => '1 hour'))"
    )
    sidecars = {
        pipeline: [world.another_sidecar({"APEX_ENGINE_PIPELINE": pipeline}) for _ in range(2)] for pipeline in ("default", "orders")
    }
    for leader, standby in sidecars.values():
        leader.start()
        standby.start()
        assert (role(leader), role(standby)) == ("leader", "standby")
    write(world, 5)
    world.pg.execute("INSERT INTO orders VALUES (1, 'one'), (2, 'two')")
    world.wait_synced()
    before = claims(world)
    assert {pipeline: len(ids) for pipeline, ids in before.items()} == {"default": 1, "orders": 1}

    leader, standby = sidecars["default"]
    leader.pause()
    wait_until(lambda: leads(standby))
    change(world, "!")
    world.pg.execute("UPDATE orders SET note = note || '!'")
    world.wait_synced()
    after = claims(world)
    assert after["orders"] == before["orders"], "the other pipeline's connection was ended, too"
    assert len(after["default"]) == 1 and after["default"] != before["default"]
    leader.resume()
    wait_until(lambda: role(leader) == "standby", message="the old leader believes that it leads")
    assert claims(world) == after
    assert json.loads(world.redis.get("order:2"))["note"] == "two!"
    assert library.differences(world) == []
