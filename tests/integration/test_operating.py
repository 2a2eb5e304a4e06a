"""What an operator sees and does: status, retry and discard by command and HTTP, health, metrics, and stores that are down."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

import library
import pytest
from command import apex
from gated import Gated
from stores import Sidecar
from world import World, wait_until

TOKEN = "an operator's token"
UP = dict.fromkeys(("postgres", "neo4j", "qdrant", "redis"), True)


@pytest.fixture
def shelf(quiet_world: World) -> World:
    """A sidecar that takes changes over HTTP, and three documents in all stores."""
    world = quiet_world
    world.sidecar = world.another_sidecar({"APEX_HTTP_TOKEN": TOKEN})
    world.sidecar.start()
    library.create(world)
    fill(world)
    world.wait_synced()
    return world


def fill(world: World) -> None:
    world.pg.execute("""
        INSERT INTO authors (name) VALUES ('Ann');
        INSERT INTO documents (title, author_id, embedding)
          SELECT 'about ' || n, (SELECT id FROM authors), ARRAY[n, 1, 0, 0] FROM generate_series(1, 3) n;
    """)


def poison(world: World, title: str = "about 1") -> dict:
    """Makes Qdrant refuse this document; returns its saga once it is parked."""
    known = {saga["id"] for saga in world.parked()}
    world.pg.execute("UPDATE documents SET embedding = '{1}' WHERE title = %s", [title])
    return wait_until(lambda: next((s for s in world.parked() if s["id"] not in known and s["state"] == "parked"), None))


def mend_unseen(world: World) -> None:
    """Behind the triggers' back, so that only a retry can send it."""
    with world.pg.transaction():
        world.pg.execute("ALTER TABLE documents DISABLE TRIGGER USER")
        world.pg.execute("UPDATE documents SET embedding = '{1,2,3,4}' WHERE cardinality(embedding) = 1")
        world.pg.execute("ALTER TABLE documents ENABLE TRIGGER USER")


def command(world: World, *arguments: str) -> tuple[int, str, str]:
    done = apex(*arguments, variables=world.sidecar.variables)
    return done.returncode, done.stdout, done.stderr


def ask(sidecar: Sidecar, method: str, path: str, token: str | None = None) -> tuple[int, str, dict[str, str]]:
    headers = {} if token is None else {"Authorization": token}
    request = urllib.request.Request(sidecar.http + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode(), dict(refused.headers)


def not_ready(sidecar: Sidecar) -> list[str]:
    """The reasons in /readyz, which agree with its status."""
    status, body = sidecar.get("/readyz")
    if status == 0:
        return ["no answer"]
    said = json.loads(body)
    assert said["ready"] == (status == 200) == (said["not_ready"] == []), (status, body)
    return said["not_ready"]


# Commands


def test_status_shows_leader_backlog_tables_and_failed_sagas_as_text_and_as_json(shelf: World) -> None:
    code, text, _ = command(shelf, "status")
    assert code == 0 and "no failed sagas" in text
    saga = poison(shelf)
    code, text, _ = command(shelf, "status")
    assert code == 0
    for said in ("pipeline default", f":{shelf.sidecar.pid}", "epoch 1", "1 parked", "public.documents"):
        assert said in text, said
    for said in (str(saga["id"]), "parked", "documents", "write_qdrant", saga["error"], "apex retry ID", "apex discard ID"):
        assert said in text, said

    code, text, _ = command(shelf, "status", "--json")
    said = json.loads(text)
    assert code == 0
    (pipeline,) = said["status"]["pipelines"]
    assert (pipeline["pipeline"], pipeline["epoch"], pipeline["backlog"], pipeline["parked"]) == ("default", 1, 0, 1)
    assert set(pipeline["tables"]) == {"public.authors", "public.documents", "public.chunks", "public.cites"}
    assert [(failed["id"], failed["error"]) for failed in said["failed_sagas"]] == [(str(saga["id"]), saga["error"])]


def test_retry_sends_a_mended_row_and_discard_forgets_the_saga(shelf: World) -> None:
    saga = poison(shelf)
    mend_unseen(shelf)
    code, said, _ = command(shelf, "retry", str(saga["id"]))
    assert code == 0 and str(saga["id"]) in said
    wait_until(lambda: shelf.parked() == [])
    shelf.wait_synced()
    assert library.differences(shelf) == []

    saga = poison(shelf, "about 2")
    code, said, _ = command(shelf, "discard", str(saga["id"]))
    assert code == 0 and str(saga["id"]) in said
    assert shelf.parked() == []


def test_a_command_that_cannot_do_it_says_why_and_exits_with_1(shelf: World) -> None:
    nobody = str(uuid.uuid4())
    for action in ("retry", "discard"):
        code, said, error = command(shelf, action, nobody)
        assert (code, said) == (1, "") and nobody in error
        code, _, error = command(shelf, action, "no-uuid")
        assert code == 1 and "no-uuid" in error
    done = apex("status", variables={"APEX_POSTGRES_DSN": "host=127.0.0.1 port=1"})
    assert done.returncode == 1 and "Connection refused" in done.stderr
    shelf.sidecar.stop()
    shelf.pg.execute("DROP EXTENSION apex_saga CASCADE")
    code, _, error = command(shelf, "status")
    assert code == 1 and "apex doctor" in error


# HTTP


def test_retry_and_discard_over_http_need_the_token_and_a_saga_that_is_there(shelf: World) -> None:
    saga = poison(shelf)
    path = f"/api/v1/sagas/{saga['id']}/"
    for action in ("retry", "discard"):
        for token in (None, "Bearer wrong", TOKEN, f"Basic {TOKEN}"):
            status, body, headers = ask(shelf.sidecar, "POST", path + action, token)
            assert status == 401 and headers["WWW-Authenticate"] == "Bearer" and TOKEN not in body
        right = f"Bearer {TOKEN}"
        assert ask(shelf.sidecar, "POST", f"/api/v1/sagas/{uuid.uuid4()}/{action}", right)[0] == 404
        assert ask(shelf.sidecar, "POST", f"/api/v1/sagas/no-uuid/{action}", right)[0] == 400
        status, _, headers = ask(shelf.sidecar, "GET", path + action, right)
        assert status == 405 and headers["Allow"] == "POST"
    assert [saga["id"] for saga in shelf.parked()] == [saga["id"]], "a refused call has done something"

    mend_unseen(shelf)
    status, body, _ = ask(shelf.sidecar, "POST", path + "retry", right)
    assert status == 200 and json.loads(body) == {"saga": str(saga["id"]), "done": "retry"}
    wait_until(lambda: shelf.parked() == [])
    saga = poison(shelf, "about 2")
    status, body, _ = ask(shelf.sidecar, "POST", f"/api/v1/sagas/{saga['id']}/discard", right)
    assert status == 200 and json.loads(body)["done"] == "discard"
    assert shelf.parked() == []


def test_a_saga_that_is_being_undone_can_be_neither_retried_nor_discarded(quiet_world: World) -> None:
    library.create(quiet_world)
    fill(quiet_world)
    gated = Gated(quiet_world, {"APEX_HTTP_TOKEN": TOKEN})
    try:
        gated.sidecar.start()
        quiet_world.wait_synced()
        gated.gates["postgres"].when(b"apex.record_failure", lambda: gated.hold("neo4j"))
        quiet_world.pg.execute("UPDATE documents SET embedding = '{1}' WHERE title = 'about 1'")
        gated.wait_held("neo4j")
        (saga,) = wait_until(lambda: quiet_world.rows("SELECT id FROM apex.sagas"))
        for action in ("retry", "discard"):
            status, body, _ = ask(gated.sidecar, "POST", f"/api/v1/sagas/{saga['id']}/{action}", f"Bearer {TOKEN}")
            assert status == 409 and str(saga["id"]) in body
        gated.open()
        wait_until(lambda: [saga["state"] for saga in quiet_world.parked()] == ["parked"])
    finally:
        gated.sidecar.kill()
        gated.close()


def test_without_a_configured_token_nothing_can_be_changed_over_http(world: World) -> None:
    for token in (None, "Bearer ", "Bearer x"):
        status, body, _ = ask(world.sidecar, "POST", f"/api/v1/sagas/{uuid.uuid4()}/retry", token)
        assert status == 403 and "http.token" in body


def test_the_console_status_and_health_are_served_and_everything_else_is_not(world: World) -> None:
    status, page, headers = ask(world.sidecar, "GET", "/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and "<title>Apex Saga</title>" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"] and "http://" not in page and "https://" not in page
    status, body, headers = ask(world.sidecar, "GET", "/api/v1/status")
    said = json.loads(body)
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert (said["role"], said["epoch"], said["failed_sagas"]) == ("leader", 1, [])
    assert {store: state["up"] for store, state in said["stores"].items()} == UP
    assert world.sidecar.get("/livez")[0] == 200 and not_ready(world.sidecar) == []
    assert ask(world.sidecar, "HEAD", "/livez")[:2] == (200, "")
    for path in ("/nothing", "/api/v1", "/api/v1/sagas/x", "/../etc/passwd", "/metrics/"):
        assert ask(world.sidecar, "GET", path)[0] == 404, path
    for path in ("/", "/metrics", "/livez", "/readyz", "/api/v1/status"):
        status, _, headers = ask(world.sidecar, "POST", path)
        assert status == 405 and headers["Allow"] == "GET, HEAD"


# Metrics


def test_the_counters_move_with_the_work(shelf: World) -> None:
    steps = ("write_neo4j", "write_qdrant", "write_redis", "write_postgres")

    def counts() -> dict[str, float]:
        found = {status: shelf.metric("apex_saga_executions_total", status=status) for status in ("success", "failed")}
        found |= {step: shelf.metric("apex_saga_step_duration_seconds_count", step_name=step) for step in steps}
        return found | {"end to end": shelf.metric("apex_end_to_end_seconds_count"), "batches": shelf.metric("apex_batch_rows_count")}

    before = wait_until(lambda: (found := counts())["success"] == 4 and found)
    for number in range(3):
        shelf.sql("UPDATE documents SET views = %s WHERE title = 'about 1'", number + 10)
        shelf.wait_synced()
    after = wait_until(lambda: (found := counts())["success"] == 7 and found)
    assert {name: after[name] - before[name] for name in (*steps, "batches")} == dict.fromkeys((*steps, "batches"), 3)
    assert after["end to end"] - before["end to end"] == 3 and after["failed"] == 0
    poison(shelf)
    wait_until(lambda: counts()["failed"] == 1)
    assert counts()["success"] == 7
    for gauge in ("apex_saga_active_count", "apex_backlog_rows", "apex_lag_seconds"):
        wait_until(lambda: shelf.metric(gauge) == 0, message=gauge)  # noqa: B023
    assert (shelf.metric("apex_leader"), shelf.metric("apex_epoch")) == (1, 1)
    for bucket in ("0.01", "0.05", "0.1", "0.5", "1", "5", "10", "30", "60", "+Inf"):
        assert f'step_name="write_redis",le="{bucket}"' in shelf.sidecar.get("/metrics")[1]


# Stores that are down


@pytest.fixture
def gated(quiet_world: World) -> Iterator[Gated]:
    """Behind gates that can be closed, and impatient, so that silence shows soon."""
    library.create(quiet_world)
    fill(quiet_world)
    it = Gated(quiet_world, {"APEX_ENGINE_STORE_TIMEOUT_MS": "700", "APEX_ENGINE_BACKOFF_MAX_MS": "200"})
    it.sidecar.start()
    quiet_world.sidecar = it.sidecar
    quiet_world.wait_synced()
    yield it
    it.sidecar.kill()
    it.close()


@pytest.mark.parametrize("store", ["neo4j", "qdrant", "redis"])
def test_a_store_that_does_not_answer_is_waited_for_and_seen_and_nothing_is_lost(gated: Gated, store: str) -> None:
    world = gated.world
    gated.hold(store)
    gated.gates[store].cut()
    world.pg.execute("UPDATE documents SET views = views + 1")
    world.pg.execute("INSERT INTO documents (title, embedding) VALUES ('while it was down', '{1,2,3,4}')")
    # On a busy machine another one may now and then be too slow for so little patience.
    wait_until(lambda: [reason.partition(": ")[0] for reason in not_ready(gated.sidecar)] == [store])
    wait_until(lambda: world.metric("apex_breaker_open", store=store) == 1)
    wait_until(lambda: {each: world.metric("apex_store_up", store=each) for each in gated.gates} == {**UP, store: 0})
    wait_until(lambda: world.metric("apex_retries_total", store=store) >= 2)
    assert world.metric("apex_saga_active_count") > 0 and world.metric("apex_lag_seconds") > 0
    assert gated.sidecar.get("/livez")[0] == 200
    assert json.loads(gated.sidecar.get("/api/v1/status")[1])["stores"][store]["up"] is False
    assert world.parked() == [] and world.sql("SELECT * FROM apex.sagas") == []

    gated.open()
    world.wait_synced()
    assert library.differences(world) == []
    wait_until(lambda: not_ready(gated.sidecar) == [])
    wait_until(lambda: (world.metric("apex_breaker_open", store=store), world.metric("apex_store_up", store=store)) == (0, 1))
    assert world.parked() == [] and world.metric("apex_saga_executions_total", status="failed") == 0


def test_an_idle_store_that_goes_down_shows_in_readyz(gated: Gated) -> None:
    gated.hold("redis")
    gated.gates["redis"].cut()
    wait_until(lambda: any(reason.startswith("redis: ") for reason in not_ready(gated.sidecar)))
    gated.open()
    wait_until(lambda: not_ready(gated.sidecar) == [])


def test_a_redis_that_lost_everything_in_a_restart_is_written_again_from_the_next_change_on(shelf: World) -> None:
    server = shelf.stack.redis
    server.stop()
    try:
        shelf.pg.execute("UPDATE documents SET title = 'while redis was away' WHERE title = 'about 1'")
        wait_until(lambda: any(reason.startswith("redis: ") for reason in not_ready(shelf.sidecar)))
    finally:
        server.start()
    shelf.wait_synced()
    wait_until(lambda: not_ready(shelf.sidecar) == [])
    (key,) = shelf.redis.scan_iter("doc:*")
    assert json.loads(shelf.redis.get(key))["title"] == "while redis was away"
    assert library.differences(shelf) == [] and shelf.parked() == []


def test_postgresql_that_cannot_be_reached_shows_in_readyz_and_the_leader_comes_back(gated: Gated) -> None:
    gated.hold("postgres")
    gated.gates["postgres"].cut()
    gated.world.pg.execute("UPDATE documents SET views = views + 1")
    wait_until(lambda: any(reason.startswith("postgres: ") for reason in not_ready(gated.sidecar)))
    assert gated.sidecar.get("/livez")[0] == 200
    status, body = gated.sidecar.get("/api/v1/status")
    assert status == 200 and "postgres" in json.loads(body)["error"]
    gated.open()
    gated.world.wait_synced()
    assert library.differences(gated.world) == []
    wait_until(lambda: not_ready(gated.sidecar) == [])


def test_a_standby_is_ready_and_says_so(world: World) -> None:
    standby = world.another_sidecar()
    standby.start()
    assert not_ready(standby) == []
    said = json.loads(standby.get("/api/v1/status")[1])
    assert (said["role"], said["epoch"]) == ("standby", 0)
    assert "\napex_leader 0" in standby.get("/metrics")[1]
