"""Points in Qdrant follow rows: payload, embedding, ids, and a collection that does not fit."""

import json
import math
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from command import apex
from qdrant_client import models
from world import World, wait_until


def attach(world: World, key: str = "bigint", **vector: Any) -> None:
    given = {"dimensions": 2, "payload": "ARRAY['title', 'meta']", **vector}
    arguments = "".join(f", {name} => {value}" for name, value in given.items())
    world.pg.execute(f"""
        CREATE TABLE documents (id {key} PRIMARY KEY, title text, meta jsonb, hidden text, embedding real[]);
        SELECT apex.attach('documents', vector => apex.vector('documents', 'embedding'{arguments}));
    """)


@pytest.fixture
def documents(world: World) -> World:
    attach(world, distance="'dot'")
    send(world, """INSERT INTO documents VALUES (1, 'one', '{"a": [1, null]}', 'h', '{3,4}'), (2, 'two', NULL, 'h', '{1,0}')""")
    return world


def send(world: World, statement: str, *arguments: Any) -> None:
    world.sql(statement, *arguments)
    world.wait_synced()


def payload(world: World, point: Any) -> dict[str, Any] | None:
    """Without the version."""
    record = world.point("documents", point)
    if record is None:
        return None
    assert record.payload["_apex_seq"] > 0
    return {name: value for name, value in record.payload.items() if name != "_apex_seq"}


def vector(world: World, point: Any) -> Sequence[float]:
    return world.point("documents", point).vector


def test_a_row_is_a_point_with_vector_key_and_payload_columns_and_nothing_else(documents: World) -> None:
    assert payload(documents, 1) == {"id": 1, "title": "one", "meta": {"a": [1, None]}}
    assert payload(documents, 2) == {"id": 2, "title": "two", "meta": None}
    assert vector(documents, 1) == [3, 4]


def test_an_update_of_the_payload_keeps_the_vector(documents: World) -> None:
    send(documents, "UPDATE documents SET title = NULL, meta = '[]' WHERE id = 1")
    assert payload(documents, 1) == {"id": 1, "title": None, "meta": []}
    assert vector(documents, 1) == [3, 4]
    assert payload(documents, 2)["title"] == "two"


def test_an_update_of_the_embedding_keeps_the_payload(documents: World) -> None:
    send(documents, "UPDATE documents SET embedding = '{5,6}' WHERE id = 1")
    assert vector(documents, 1) == [5, 6]
    assert payload(documents, 1) == {"id": 1, "title": "one", "meta": {"a": [1, None]}}


def test_an_update_of_payload_and_embedding_in_one_transaction_arrives_together(documents: World) -> None:
    documents.wait_synced(documents.commit("UPDATE documents SET embedding = '{5,6}'", "UPDATE documents SET title = 'new'"))
    assert [(vector(documents, point), payload(documents, point)["title"]) for point in (1, 2)] == [([5, 6], "new")] * 2


def test_an_embedding_set_to_null_takes_the_point_away_and_a_new_one_brings_it_back_whole(documents: World) -> None:
    send(documents, "UPDATE documents SET embedding = NULL WHERE id = 1")
    assert payload(documents, 1) is None and documents.point_count("documents") == 1
    send(documents, "UPDATE documents SET title = 'changed meanwhile' WHERE id = 1")
    assert payload(documents, 1) is None
    send(documents, "UPDATE documents SET embedding = '{7,8}' WHERE id = 1")
    assert payload(documents, 1) == {"id": 1, "title": "changed meanwhile", "meta": {"a": [1, None]}}
    assert vector(documents, 1) == [7, 8]


def test_a_delete_takes_its_point_away_and_no_other(documents: World) -> None:
    send(documents, "DELETE FROM documents WHERE id = 1")
    assert payload(documents, 1) is None and payload(documents, 2) is not None


def test_a_column_that_is_not_mapped_changes_nothing(documents: World) -> None:
    before = documents.point("documents", 1)
    events = documents.value("SELECT last_value FROM apex.outbox_seq")
    send(documents, "UPDATE documents SET hidden = 'changed'")
    assert documents.value("SELECT last_value FROM apex.outbox_seq") == events
    assert documents.point("documents", 1) == before


def test_a_payload_update_of_a_point_that_somebody_deleted_brings_it_back_whole(documents: World) -> None:
    documents.qdrant.delete("documents", models.PointIdsList(points=[1]))
    send(documents, "UPDATE documents SET title = 'healed' WHERE id = 1")
    wait_until(lambda: payload(documents, 1) is not None)
    assert payload(documents, 1)["title"] == "healed" and vector(documents, 1) == [3, 4]


def test_a_collection_that_vanishes_parks_nothing_and_is_made_again(documents: World) -> None:
    documents.qdrant.delete_collection("documents")
    send(documents, "INSERT INTO documents VALUES (3, 'three', NULL, NULL, '{1,1}'); UPDATE documents SET title = 'new' WHERE id = 1")
    assert documents.parked() == []
    assert payload(documents, 3)["title"] == "three"
    assert payload(documents, 1)["title"] == "new" and vector(documents, 1) == [3, 4]


def test_points_are_found_by_similarity_and_by_payload(documents: World) -> None:
    found = documents.qdrant.query_points("documents", query=[0.1, 1.0], limit=1).points
    assert [point.id for point in found] == [1]
    two = models.Filter(must=[models.FieldCondition(key="title", match=models.MatchValue(value="two"))])
    assert [point.id for point in documents.qdrant.scroll("documents", scroll_filter=two)[0]] == [2]


def test_uuid_and_bigint_keys_are_the_ids_of_their_points(world: World) -> None:
    attach(world, "uuid")
    row = uuid.uuid4()
    send(world, "INSERT INTO documents VALUES (%s, 'x', NULL, NULL, '{1,2}')", row)
    assert payload(world, str(row)) == {"id": str(row), "title": "x", "meta": None}
    world.pg.execute("""
        CREATE TABLE numbers (id bigint PRIMARY KEY, embedding double precision[]);
        SELECT apex.attach('numbers', vector => apex.vector('numbers', 'embedding', dimensions => 2));
    """)
    send(world, "INSERT INTO numbers VALUES (0, '{1,2}'), (9223372036854775807, '{1,2}')")
    assert {point.id for point in world.qdrant.scroll("numbers")[0]} == {0, 2**63 - 1}


def test_a_collection_is_made_with_the_dimensions_and_distance_of_the_mapping(world: World) -> None:
    attach(world, dimensions=3, distance="'euclid'")
    send(world, "INSERT INTO documents VALUES (1, 'x', NULL, NULL, '{1,2,3}')")
    made = world.qdrant.get_collection("documents").config.params.vectors
    assert (made.size, made.distance) == (3, models.Distance.EUCLID)


def test_a_named_vector_is_written_beside_those_of_others(world: World) -> None:
    sizes = {"mine": models.VectorParams(size=2, distance=models.Distance.DOT), "theirs": models.VectorParams(size=5, distance=models.Distance.DOT)}
    world.qdrant.create_collection("documents", vectors_config=sizes)
    attach(world, distance="'dot'", name="'mine'")
    send(world, "INSERT INTO documents VALUES (1, 'one', NULL, NULL, '{3,4}')")
    assert vector(world, 1) == {"mine": [3, 4]}
    world.qdrant.update_vectors("documents", [models.PointVectors(id=1, vector={"theirs": [1, 2, 3, 4, 5]})])
    send(world, "UPDATE documents SET title = 'two'")
    assert payload(world, 1)["title"] == "two"
    assert vector(world, 1) == {"mine": [3, 4], "theirs": [1, 2, 3, 4, 5]}
    found = world.qdrant.query_points("documents", query=[3.0, 4.0], using="mine", limit=1).points
    assert [point.id for point in found] == [1]


def test_a_named_vector_is_made_compared_and_mended(world: World) -> None:
    attach(world, name="'mine'")
    send(world, "INSERT INTO documents VALUES (1, 'one', NULL, NULL, '{3,4}')")
    assert list(world.qdrant.get_collection("documents").config.params.vectors) == ["mine"]
    assert apex("verify", variables=world.sidecar.variables).returncode == 0
    world.qdrant.update_vectors("documents", [models.PointVectors(id=1, vector={"mine": [4, 3]})])
    assert apex("verify", variables=world.sidecar.variables).returncode == 1
    assert apex("repair", variables=world.sidecar.variables).returncode == 0
    assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(vector(world, 1)["mine"], [0.6, 0.8], strict=True))


def test_cosine_vectors_are_normalised_by_the_store_and_keep_their_direction(world: World) -> None:
    attach(world, distance="'cosine'")
    send(world, "INSERT INTO documents VALUES (1, 'x', NULL, NULL, '{3,4}')")
    assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(vector(world, 1), [0.6, 0.8], strict=True))


def test_a_batch_of_thousands_arrives_whole(documents: World) -> None:
    documents.sql("INSERT INTO documents SELECT n, 'doc ' || n, NULL, NULL, ARRAY[n, 1] FROM generate_series(10, 5009) n")
    documents.wait_synced(seconds=60)
    assert documents.point_count("documents") == 5002
    assert payload(documents, 4321) == {"id": 4321, "title": "doc 4321", "meta": None} and vector(documents, 4321) == [4321, 1]


@pytest.mark.parametrize(("size", "distance"), [(5, models.Distance.DOT), (2, models.Distance.EUCLID)])
def test_a_collection_that_does_not_fit_makes_the_store_down_and_parks_nothing(
    quiet_world: World, size: int, distance: models.Distance
) -> None:
    world = quiet_world
    attach(world, distance="'dot'")
    world.qdrant.create_collection("documents", vectors_config=models.VectorParams(size=size, distance=distance))
    world.sql("INSERT INTO documents VALUES (1, 'x', NULL, NULL, '{1,2}')")
    world.sidecar.launch()

    def reasons() -> list[str]:
        status, body = world.sidecar.get("/readyz")
        return json.loads(body)["not_ready"] if status == 503 else []

    def reason() -> str | None:
        """The only one; the other stores may be reached a moment later."""
        said = reasons()
        return said[0] if len(said) == 1 and "collection" in said[0] else None

    said = wait_until(reason, message=lambda: str(reasons()))
    assert said.startswith("qdrant:") and '"documents"' in said
    assert str(size) in said and "2 dimensions" in said and "attach the table to another collection" in said
    assert world.metric("apex_store_up", store="qdrant") == 0
    assert world.sql("SELECT apex.sync_state(apex.position())") == ["waiting"]
    assert world.parked() == [] and world.sql("SELECT * FROM apex.sagas") == []

    # Mended as the reason says; nobody has to restart anything.
    world.qdrant.delete_collection("documents")
    world.wait_synced()
    wait_until(lambda: world.sidecar.is_ready())
    assert vector(world, 1) == [1, 2]
    assert world.parked() == []
