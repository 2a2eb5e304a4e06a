"""The gateway in front of Qdrant's embedded engine, driven by Qdrant's official client over gRPC."""
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import uuid

import grpc
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as api

GATEWAY = pathlib.Path(__file__).parents[2] / "tools/stores/qdrant/gateway.py"
READY_SECONDS = 60
SEED = int(os.environ.get("APEX_TEST_SEED", random.randrange(2**32)))
STATUS = grpc.StatusCode


class Gateway:
    """One gateway process over one data directory; it can be stopped or killed and started again."""

    def __init__(self, data, api_key=None):
        self.command = [sys.executable, str(GATEWAY), "--port", "0", "--data", str(data)]
        if api_key:
            self.command += ["--api-key", api_key]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        alarm = threading.Timer(READY_SECONDS, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        assert line.startswith("READY http://127.0.0.1:"), f"said {line!r}"
        self.port = int(line.rpartition(":")[2])

    def client(self, **options):
        return QdrantClient(
            host="127.0.0.1", grpc_port=self.port, prefer_grpc=True, check_compatibility=False, https=False, **options
        )

    def end(self, sig):
        self.process.send_signal(sig)
        return self.process.wait(READY_SECONDS)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    print(f"seed {SEED}")
    running = Gateway(tmp_path_factory.mktemp("qdrant"))
    yield running
    running.end(signal.SIGKILL)


@pytest.fixture
def client(gateway):
    with_client = gateway.client()
    yield with_client
    with_client.close()


@pytest.fixture
def collection(client):
    name = f"docs-{uuid.uuid4()}"
    client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    yield name
    client.delete_collection(name)


def refusal(error, status, words):
    assert error.value.code() == status
    assert words in error.value.details()


def older_than(seq):
    return models.Filter(must=[models.FieldCondition(key="_apex_seq", range=models.Range(lt=seq))])


def upsert(client, collection, point_id, seq, vector=(1, 0, 0, 0), **options):
    point = models.PointStruct(id=point_id, vector=list(vector), payload={"_apex_seq": seq})
    return client.upsert(collection, [point], wait=True, **options)


def payload(client, collection, point_id):
    found = client.retrieve(collection, [point_id], with_payload=True)
    return found[0].payload if found else None


def test_collection_is_listed_described_and_gone_after_delete(client):
    name = "naïve / name"
    assert not client.collection_exists(name)
    client.create_collection(name, vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE))
    assert client.collection_exists(name)
    assert name in [item.name for item in client.get_collections().collections]
    info = client.get_collection(name)
    assert info.status == models.CollectionStatus.GREEN
    assert info.config.params.vectors.size == 8
    assert info.config.params.vectors.distance == models.Distance.COSINE
    assert client.delete_collection(name)
    assert not client.collection_exists(name)
    assert not client.delete_collection(name)


def test_creating_a_collection_twice_is_refused(client, collection):
    with pytest.raises(grpc.RpcError) as error:
        client.create_collection(collection, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    refusal(error, STATUS.ALREADY_EXISTS, f"Collection `{collection}` already exists!")


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.get_collection("none"),
        lambda client: upsert(client, "none", 1, 1),
        lambda client: client.scroll("none"),
        lambda client: client.count("none"),
        lambda client: client.query_points("none", query=[1.0]),
        lambda client: client.delete("none", models.PointIdsList(points=[1])),
    ],
)
def test_missing_collection_is_not_found(client, use):
    with pytest.raises(grpc.RpcError) as error:
        use(client)
    refusal(error, STATUS.NOT_FOUND, "Not found: Collection `none` doesn't exist!")


def test_wrong_dimension_is_refused_in_qdrants_words_and_nothing_of_the_request_stays(client, collection):
    vectors = [[1, 0, 0, 0], [1, 0, 0], [0, 1, 0, 0]]
    points = [models.PointStruct(id=number, vector=vector, payload={}) for number, vector in enumerate(vectors)]
    with pytest.raises(grpc.RpcError) as error:
        client.upsert(collection, points)
    refusal(error, STATUS.INVALID_ARGUMENT, "Wrong input: Vector dimension error: expected dim: 4, got 3")
    assert client.count(collection).count == 0


def test_batch_applies_the_operations_before_the_refused_one(client, collection):
    good = models.PointStruct(id=1, vector=[1, 0, 0, 0], payload={})
    bad = models.PointStruct(id=2, vector=[1, 0], payload={})
    never = models.PointStruct(id=3, vector=[1, 0, 0, 0], payload={})
    operations = [models.UpsertOperation(upsert=models.PointsList(points=[point])) for point in (good, bad, never)]
    with pytest.raises(grpc.RpcError) as error:
        client.batch_update_points(collection, operations)
    refusal(error, STATUS.INVALID_ARGUMENT, "expected dim: 4, got 2")
    assert [record.id for record in client.scroll(collection)[0]] == [1]


def test_malformed_uuid_is_refused(client, collection):
    with pytest.raises(grpc.RpcError) as error:
        upsert(client, collection, "not-a-uuid", 1)
    refusal(error, STATUS.INVALID_ARGUMENT, "Unable to parse UUID: not-a-uuid")


def test_payload_of_every_kind_comes_back_as_it_went(client, collection):
    sent = {
        "null": None,
        "true": True,
        "int": 2**63 - 1,
        "negative": -(2**63),
        "float": 0.1,
        "text": "Zoë \u0000 🚀 \"quoted\"",
        "list": [1, None, "x", [True]],
        "struct": {"a": {"b": [1.5, {}]}},
        "empty": {},
    }
    client.upsert(collection, [models.PointStruct(id=1, vector=[1, 0, 0, 0], payload=sent)])
    received = payload(client, collection, 1)
    assert received == sent
    assert type(received["int"]) is int and type(received["true"]) is bool


def test_update_filter_inserts_a_missing_point_takes_a_newer_and_ignores_an_older_one(client, collection):
    key = str(uuid.uuid4())
    upsert(client, collection, key, 10, update_filter=older_than(10))
    assert payload(client, collection, key) == {"_apex_seq": 10}
    upsert(client, collection, key, 9, update_filter=older_than(9))
    assert payload(client, collection, key) == {"_apex_seq": 10}
    upsert(client, collection, key, 11, update_filter=older_than(11))
    assert payload(client, collection, key) == {"_apex_seq": 11}


def test_update_mode_decides_about_missing_and_present_points(client, collection):
    upsert(client, collection, 1, 1, update_mode=models.UpdateMode.UPDATE_ONLY)
    assert payload(client, collection, 1) is None
    upsert(client, collection, 1, 1, update_mode=models.UpdateMode.INSERT_ONLY)
    upsert(client, collection, 1, 2, update_mode=models.UpdateMode.INSERT_ONLY)
    assert payload(client, collection, 1) == {"_apex_seq": 1}


def test_write_that_waits_is_completed(client, collection):
    assert upsert(client, collection, 1, 1).status == models.UpdateStatus.COMPLETED


def test_delete_by_ids_and_by_filter(client, collection):
    for number in range(1, 6):
        upsert(client, collection, number, number)
    client.delete(collection, models.PointIdsList(points=[1, 99]))
    older = older_than(4)
    older.must.append(models.HasIdCondition(has_id=[2, 4]))
    client.delete(collection, models.FilterSelector(filter=older))
    assert [record.id for record in client.scroll(collection)[0]] == [3, 4, 5]


def test_payload_operations_change_what_they_name(client, collection):
    client.upsert(collection, [models.PointStruct(id=1, vector=[1, 0, 0, 0], payload={"a": 1, "b": 2})])
    client.set_payload(collection, {"c": 3}, points=[1])
    assert payload(client, collection, 1) == {"a": 1, "b": 2, "c": 3}
    client.delete_payload(collection, ["a"], points=[1])
    assert payload(client, collection, 1) == {"b": 2, "c": 3}
    client.overwrite_payload(collection, {"d": 4}, points=[1])
    assert payload(client, collection, 1) == {"d": 4}
    client.clear_payload(collection, points_selector=[1])
    assert payload(client, collection, 1) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda client, name: client.set_payload(name, {"a": 1}, points=[404]),
        lambda client, name: client.overwrite_payload(name, {"a": 1}, points=[404]),
        lambda client, name: client.update_vectors(name, [models.PointVectors(id=404, vector=[1, 0, 0, 0])]),
    ],
)
def test_changing_a_missing_point_is_not_found(client, collection, change):
    with pytest.raises(grpc.RpcError) as error:
        change(client, collection)
    refusal(error, STATUS.NOT_FOUND, "Not found: No point with id 404 found")


def test_payload_operation_applies_to_the_points_that_exist_before_it_says_not_found(client, collection):
    upsert(client, collection, 1, 1)
    with pytest.raises(grpc.RpcError):
        client.set_payload(collection, {"a": 1}, points=[1, 404])
    assert payload(client, collection, 1) == {"_apex_seq": 1, "a": 1}


def test_update_vectors_changes_the_vector_and_keeps_the_payload(client, collection):
    upsert(client, collection, 1, 1)
    client.update_vectors(collection, [models.PointVectors(id=1, vector=[0, 0, 0, 2])])
    record = client.retrieve(collection, [1], with_vectors=True)[0]
    assert record.vector == [0, 0, 0, 2] and record.payload == {"_apex_seq": 1}


def test_scroll_pages_through_every_point_once(client, collection):
    for number in range(25):
        upsert(client, collection, number, number)
    seen, offset = [], None
    while True:
        records, offset = client.scroll(collection, limit=10, offset=offset)
        seen += [record.id for record in records]
        if offset is None:
            break
    assert seen == list(range(25))


def test_count_takes_a_filter(client, collection):
    for number in range(10):
        upsert(client, collection, number, number)
    assert client.count(collection).count == 10
    assert client.count(collection, count_filter=older_than(4)).count == 4


def test_query_ranks_by_distance_and_honours_filter_limit_and_threshold(client, collection):
    for number in range(1, 6):
        upsert(client, collection, number, number, vector=(number, 0, 0, 0))
    hits = client.query_points(collection, query=[1.0, 0, 0, 0], limit=2, query_filter=older_than(5)).points
    assert [(hit.id, hit.score) for hit in hits] == [(4, 4.0), (3, 3.0)]
    hits = client.query_points(collection, query=[1.0, 0, 0, 0], score_threshold=4.5, with_vectors=True).points
    assert [(hit.id, hit.vector) for hit in hits] == [(5, [5, 0, 0, 0])]


def test_query_by_a_stored_point_leaves_that_point_out(client, collection):
    for number in range(1, 4):
        upsert(client, collection, number, number, vector=(number, 0, 0, 0))
    assert [hit.id for hit in client.query_points(collection, query=3).points] == [2, 1]


def test_search_call_answers_as_query_does(gateway, client, collection):
    upsert(client, collection, 1, 1, vector=(3, 0, 0, 0))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        stub = api.PointsStub(channel)
        found = stub.Search(api.SearchPoints(collection_name=collection, vector=[2, 0, 0, 0], limit=1))
    assert [(hit.id.num, hit.score) for hit in found.result] == [(1, 6.0)]


def test_fusion_of_two_named_vectors(client):
    name = f"named-{uuid.uuid4()}"
    params = models.VectorParams(size=2, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config={"title": params, "body": params})
    for number, (title, body) in enumerate([([1, 0], [1, 0]), ([0, 1], [1, 0]), ([0, 1], [0, 1])], start=1):
        client.upsert(name, [models.PointStruct(id=number, vector={"title": title, "body": body}, payload={})])
    prefetch = [models.Prefetch(query=[1.0, 0.0], using=using, limit=3) for using in ("title", "body")]
    hits = client.query_points(name, prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF)).points
    assert hits[0].id == 1
    client.delete_collection(name)


def test_payload_index_is_described_and_can_be_removed(client, collection):
    client.create_payload_index(collection, "_apex_seq", models.PayloadSchemaType.INTEGER)
    client.create_payload_index(collection, "_apex_seq", models.PayloadSchemaType.INTEGER)
    upsert(client, collection, 1, 7)
    schema = client.get_collection(collection).payload_schema
    assert schema["_apex_seq"].data_type == models.PayloadSchemaType.INTEGER
    ordered = client.scroll(collection, order_by="_apex_seq")[0]
    assert [record.id for record in ordered] == [1]
    client.delete_payload_index(collection, "_apex_seq")
    assert client.get_collection(collection).payload_schema == {}


def test_call_that_is_not_offered_says_so(client, collection):
    with pytest.raises(grpc.RpcError) as error:
        client.facet(collection, key="a")
    assert error.value.code() == STATUS.UNIMPLEMENTED


def test_api_key_is_needed_and_checked(tmp_path):
    guarded = Gateway(tmp_path, api_key="right")
    try:
        for key, words in ((None, "Must provide an API key"), ("wrong", "Invalid API key")):
            with pytest.raises(grpc.RpcError) as error:
                guarded.client(api_key=key).get_collections()
            refusal(error, STATUS.UNAUTHENTICATED, words)
        assert guarded.client(api_key="right").get_collections().collections == []
        with grpc.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
            assert api.QdrantStub(channel).HealthCheck(api.HealthCheckRequest()).title.startswith("qdrant")
    finally:
        guarded.end(signal.SIGKILL)


@pytest.mark.parametrize("how, code", [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_acknowledged_writes_survive_the_end_of_the_process(tmp_path, how, code):
    process = Gateway(tmp_path)
    try:
        client = process.client()
        client.create_collection("kept", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        client.create_payload_index("kept", "_apex_seq", models.PayloadSchemaType.INTEGER)
        for number in range(200):
            upsert(client, "kept", number, number, vector=(number, 0, 0, 0))
        client.delete("kept", models.PointIdsList(points=[7]))
        assert process.end(how) == code
        process.start()
        client = process.client()
        records = client.scroll("kept", limit=1000, with_vectors=True)[0]
        assert {record.id: record.vector[0] for record in records} == {n: n for n in range(200) if n != 7}
        assert "_apex_seq" in client.get_collection("kept").payload_schema
        upsert(client, "kept", 7, 7)
        assert client.count("kept").count == 200
    finally:
        process.end(signal.SIGKILL)


def test_acknowledged_writes_survive_kill_in_the_middle_of_concurrent_writing(tmp_path):
    rnd = random.Random(SEED)
    process = Gateway(tmp_path)
    process.client().create_collection("kept", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    acknowledged = [{} for _ in range(4)]

    def write(writer):
        client = process.client()
        try:
            for turn in range(10**6):
                key, seq = writer * 1000 + turn % 50, turn + 1
                upsert(client, "kept", key, seq, update_filter=older_than(seq))
                acknowledged[writer][key] = seq
        except grpc.RpcError:
            return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    enough = threading.Event()
    while sum(map(len, acknowledged)) < 100 or rnd.random() > 0.2:
        enough.wait(0.05)
    process.end(signal.SIGKILL)
    for writer in writers:
        writer.join()
    process.start()
    try:
        stored = {record.id: record.payload["_apex_seq"] for record in process.client().scroll("kept", limit=10**6)[0]}
        for part in acknowledged:
            for key, seq in part.items():
                assert stored[key] >= seq
    finally:
        process.end(signal.SIGKILL)


def test_collection_deleted_under_concurrent_writes_is_not_found_and_can_be_made_again(client):
    name = f"gone-{uuid.uuid4()}"
    params = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection(name, vectors_config=params)
    refused = []

    def write():
        try:
            for number in range(10**6):
                upsert(client, name, number, number)
        except grpc.RpcError as error:
            refused.append(error.code())

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    client.delete_collection(name)
    for writer in writers:
        writer.join()
    assert refused == [STATUS.NOT_FOUND] * 3
    client.create_collection(name, vectors_config=params)
    assert client.count(name).count == 0
    client.delete_collection(name)


@pytest.mark.parametrize(
    "condition, expected",
    [
        (models.FieldCondition(key="word", match=models.MatchValue(value="b")), [2]),
        (models.FieldCondition(key="n", match=models.MatchAny(any=[1, 3])), [1, 3]),
        (models.FieldCondition(key="n", match=models.MatchExcept(**{"except": [1, 3]})), [2]),
        (models.FieldCondition(key="n", range=models.Range(gt=1, lte=3)), [2, 3]),
        (models.FieldCondition(key="at", range=models.DatetimeRange(gte="2024-01-02T00:00:00Z")), [2, 3]),
        (models.FieldCondition(key="tags", values_count=models.ValuesCount(gte=2)), [3]),
        (models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")), [1]),
        (models.IsNullCondition(is_null=models.PayloadField(key="maybe")), [2]),
        (models.HasIdCondition(has_id=[1, 2]), [1, 2]),
        (
            models.NestedCondition(
                nested=models.Nested(
                    key="parts",
                    filter=models.Filter(must=[models.FieldCondition(key="k", match=models.MatchValue(value=3))]),
                )
            ),
            [3],
        ),
        (models.Filter(must_not=[models.FieldCondition(key="n", range=models.Range(gte=2))]), [1]),
    ],
)
def test_filter_condition_selects_the_points_it_names(client, collection, condition, expected):
    for number, word in enumerate("abc", start=1):
        fields = {
            "n": number,
            "word": word,
            "at": f"2024-01-0{number}T00:00:00Z",
            "tags": list(range(number - 1)),
            "parts": [{"k": number}],
        } | ({"maybe": None} if number == 2 else {"maybe": 1})
        client.upsert(collection, [models.PointStruct(id=number, vector=[1, 0, 0, 0], payload=fields)])
    found, _ = client.scroll(collection, scroll_filter=models.Filter(must=[condition]))
    assert [record.id for record in found] == expected
