"""apex verify says what differs, apex repair mends it (G7): every store is damaged by hand, seen, named, mended and verified."""

import json
import threading
import uuid
from typing import Any

import library
import pytest
from command import apex
from qdrant_client import models
from world import World, wait_until

LEDGER = """
    CREATE TABLE moments (at timestamptz PRIMARY KEY, day date, amount numeric, tags text[], doc jsonb, ok boolean, ratio float8, embedding real[]);
    SELECT apex.attach('moments',
      graph  => apex.graph('Moment', properties => ARRAY['day', 'amount', 'tags', 'doc', 'ok', 'ratio']),
      vector => apex.vector('moments', 'embedding', dimensions => 3, distance => 'euclid', payload => ARRAY['day', 'amount', 'tags', 'doc', 'ok', 'ratio']),
      cache  => apex.cache('moment', mode => 'write'));
    INSERT INTO moments SELECT timestamptz '2022-02-22 19:22:22.5Z' + n * interval '1 h', date '2022-02-22' + n, n / 3.0, ARRAY['a', 'b' || n],
      jsonb_build_object('n', n, 'half', n / 2.0, 'list', jsonb_build_array(n, NULL, true)), n % 2 = 0, n / 7.0::float8, ARRAY[n, 0.1, -0.3]
      FROM generate_series(1, 40) n;
"""


@pytest.fixture
def shelf(world: World) -> World:
    """Rows in every store, written on the usual way; every embedding is a cosine one but those of moments."""
    library.create(world)
    world.pg.execute("""
        INSERT INTO authors (name) SELECT 'Author ' || n FROM generate_series(1, 5) n;
        INSERT INTO documents (title, author_id, embedding)
          SELECT 'about ' || n, (SELECT id FROM authors ORDER BY id OFFSET n % 5 LIMIT 1), ARRAY[n, 1, 0.5, -2] FROM generate_series(1, 60) n;
        INSERT INTO documents (title) VALUES ('without an embedding');
        INSERT INTO chunks SELECT n, (SELECT id FROM documents WHERE title = 'about ' || n), 'body', ARRAY[1, n, 0, 0] FROM generate_series(1, 20) n;
        INSERT INTO cites SELECT n, (SELECT id FROM documents WHERE title = 'about ' || n), (SELECT id FROM documents WHERE title = 'about ' || n + 1), n
          FROM generate_series(1, 10) n;
    """)
    world.pg.execute(LEDGER)
    world.wait_synced()
    return world


def command(world: World, *arguments: str, expect: int) -> str:
    done = apex(*arguments, variables=world.sidecar.variables, seconds=90)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def verify(world: World, *arguments: str, expect: int = 1) -> dict[str, Any]:
    said = json.loads(command(world, "verify", "--json", *arguments, expect=expect))
    assert said["equal"] == (expect == 0)
    return said


def differences(said: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(table, store, kind, key) of each."""
    return sorted(
        (table["table"].removeprefix("public."), store["store"], difference["kind"], json.dumps(difference["key"]))
        for table in said["tables"]
        for store in table["stores"]
        for difference in store["differences"]
    )


def key(*values: Any) -> str:
    return json.dumps([value if isinstance(value, int) else str(value) for value in values])


def document(world: World, title: str) -> str:
    return world.value("SELECT id::text FROM documents WHERE title = %s", title)


def mend(world: World) -> str:
    said = command(world, "repair", expect=0)
    assert library.differences(world) == []
    verify(world, expect=0)
    return said


def test_rows_of_every_type_are_equal_in_every_store(shelf: World) -> None:
    said = command(shelf, "verify", expect=0)
    assert "every store agrees with PostgreSQL" in said
    for table in ("authors", "documents", "chunks", "cites", "moments"):
        assert f"public.{table}" in said
    (moments,) = (table for table in verify(shelf, expect=0)["tables"] if table["table"] == "public.moments")
    assert [(store["rows_expected"], store["rows_held"]) for store in moments["stores"]] == [(40, 40)] * 3


def test_damage_to_the_graph_is_named_and_mended(shelf: World) -> None:
    missing, changed, unlinked, linked = (document(shelf, f"about {n}") for n in (21, 22, 23, 24))
    ghost = str(uuid.uuid4())
    other = shelf.value("SELECT id::text FROM authors WHERE id <> (SELECT author_id FROM documents WHERE id = %s) LIMIT 1", linked)
    shelf.cypher("MATCH (n:Document {id: $id}) DETACH DELETE n", id=missing)
    shelf.cypher("MATCH (n:Document {id: $id}) SET n.title = 'defaced'", id=changed)
    shelf.cypher("MATCH (:Document {id: $id})-[r:AUTHORED_BY]->() DELETE r", id=unlinked)
    shelf.cypher("MATCH (d:Document {id: $d}), (a:Author {id: $a}) CREATE (d)-[:AUTHORED_BY {_apex_seq: 1}]->(a)", d=linked, a=other)
    shelf.cypher("CREATE (:Document {id: $id, title: 'ghost', _apex_seq: 3})", id=ghost)
    shelf.cypher("CREATE (:Author {id: $id, name: 'without a version'})", id=ghost)
    shelf.cypher("MATCH ()-[r:CITES {id: 1}]->() DELETE r")
    shelf.cypher("MATCH ()-[r:CITES {id: 2}]->() SET r.page = 99")
    shelf.cypher(
        "MATCH (a:Document {id: $a}), (b:Document {id: $b}) CREATE (a)-[:CITES {id: 77, page: 1, _apex_seq: 5}]->(b)", a=changed, b=linked
    )
    shelf.cypher(
        "MATCH (a:Document)-[r:CITES {id: 3}]->(b) CREATE (a)-[:CITES {id: 3, page: r.page, _apex_seq: r._apex_seq}]->(b)",
    )
    said = verify(shelf)
    assert differences(said) == sorted(
        [
            ("documents", "neo4j", "missing", key(missing)),
            ("documents", "neo4j", "stale", key(changed)),
            ("documents", "neo4j", "stale", key(unlinked)),
            ("documents", "neo4j", "stale", key(linked)),
            ("documents", "neo4j", "extra", key(ghost)),
            ("authors", "neo4j", "extra", key(ghost)),
            ("cites", "neo4j", "missing", key(1)),
            ("cites", "neo4j", "stale", key(2)),
            ("cites", "neo4j", "extra", key(77)),
            ("cites", "neo4j", "stale", key(3)),
        ]
    )
    text = command(shelf, "verify", "--table", "documents", expect=1)
    assert 'title is "defaced", should be "about 22"' in text and "-[:AUTHORED_BY]->(:Author) is nothing" in text
    mend(shelf)
    assert shelf.nodes("Author", id=ghost) == []
    # What another application puts beside ours is its own business.
    shelf.cypher("MATCH (n:Document {id: $id}) SET n.of_another_application = 1 CREATE (n)-[:SEEN_BY]->(:Reader)", id=changed)
    verify(shelf, expect=0)


def test_damage_to_the_points_is_named_and_mended(shelf: World) -> None:
    missing, payload, turned, keyless = (document(shelf, f"about {n}") for n in (31, 32, 33, 34))
    unembedded = document(shelf, "without an embedding")
    ghost = str(uuid.uuid4())
    shelf.qdrant.delete("documents", models.PointIdsList(points=[missing]))
    shelf.qdrant.set_payload("documents", {"title": "defaced"}, points=[payload])
    shelf.qdrant.update_vectors("documents", [models.PointVectors(id=turned, vector=[0, 0, 1, 0])])
    shelf.qdrant.delete_payload("documents", ["_apex_seq", "id"], points=[keyless])
    shelf.qdrant.upsert("documents", [models.PointStruct(id=ghost, vector=[1, 1, 1, 1], payload={"id": ghost, "_apex_seq": 4})])
    shelf.qdrant.upsert("documents", [models.PointStruct(id=unembedded, vector=[1, 1, 1, 1], payload={"id": unembedded})])
    shelf.qdrant.upsert("chunks", [models.PointStruct(id=777, vector=[1, 1, 1, 1], payload={})])
    moment = shelf.qdrant.scroll("moments", limit=1, with_vectors=True)[0][0]
    shelf.qdrant.update_vectors("moments", [models.PointVectors(id=moment.id, vector=[v * 1.001 for v in moment.vector])])
    said = verify(shelf)
    found = differences(said)
    assert [difference for difference in found if difference[0] != "moments"] == sorted(
        [
            ("documents", "qdrant", "missing", key(missing)),
            ("documents", "qdrant", "stale", key(payload)),
            ("documents", "qdrant", "stale", key(turned)),
            ("documents", "qdrant", "stale", key(keyless)),
            ("documents", "qdrant", "extra", key(ghost)),
            ("documents", "qdrant", "extra", key(unembedded)),
            ("chunks", "qdrant", "extra", key(777)),
        ]
    )
    # Euclidean vectors are kept as they are, and the key is of a kind that no point has for an id.
    assert [difference[1:3] for difference in found if difference[0] == "moments"] == [("qdrant", "stale")]
    mend(shelf)


def test_damage_to_the_cache_is_named_and_mended(shelf: World) -> None:
    stale, expired, foreign = (document(shelf, f"about {n}") for n in (41, 42, 43))
    ghost = str(uuid.uuid4())
    entry = json.loads(shelf.redis.get(f"doc:{stale}"))
    shelf.redis.set(f"doc:{stale}", json.dumps({**entry, "title": "defaced"}, separators=(",", ":")))
    shelf.redis.delete(f"doc:{expired}")
    shelf.redis.set(f"doc:{ghost}", json.dumps({"_apex_seq": 2, "id": ghost, "title": "ghost"}, separators=(",", ":")))
    lost = next(iter(shelf.redis.scan_iter("moment:*")))
    shelf.redis.delete(lost)
    found = differences(verify(shelf))
    assert [difference for difference in found if difference[0] == "documents"] == sorted(
        [("documents", "redis", "stale", key(stale)), ("documents", "redis", "extra", key(ghost))]
    )
    # An entry that lives for ever is missed; one with a time to live may be gone.
    assert [difference[1:3] for difference in found if difference[0] == "moments"] == [("redis", "missing")]
    mend(shelf)
    assert shelf.redis.exists(f"doc:{ghost}") == 0 and shelf.redis.exists(lost) == 1
    # What another application keeps under a name like ours is its own business.
    shelf.redis.set(f"doc:{foreign}:summary", "of another application")
    verify(shelf, expect=0)


def test_a_version_from_another_history_is_named_and_mended(shelf: World) -> None:
    """Its row would never be written again."""
    ahead = document(shelf, "about 5")
    shelf.cypher("MATCH (n:Document {id: $id}) SET n._apex_seq = 1000000000", id=ahead)
    shelf.qdrant.set_payload("documents", {"_apex_seq": 1000000000, "title": "of the future"}, points=[ahead])
    assert differences(verify(shelf)) == [("documents", store, "stale", key(ahead)) for store in ("neo4j", "qdrant")]
    mend(shelf)


def test_parked_rows_and_stubs_are_listed_apart(shelf: World) -> None:
    poison = document(shelf, "about 11")
    shelf.pg.execute("UPDATE documents SET title = 'poison', embedding = '{1}' WHERE id = %s", [poison])
    wait_until(lambda: [saga for saga in shelf.parked() if saga["state"] == "parked"])
    shelf.cypher("CREATE (:Author {id: 'a stub'})")
    said = verify(shelf, expect=0)
    tables = {table["table"].removeprefix("public."): table for table in said["tables"]}
    assert tables["documents"]["parked"] == [[poison]]
    assert [store["stubs"] for store in tables["authors"]["stores"]] == [['["a stub"]']]
    text = command(shelf, "verify", expect=0)
    assert "in failed sagas, not compared" in text and "stubs of public.authors" in text


def test_nothing_is_reported_while_rows_are_written(shelf: World) -> None:
    stop = threading.Event()

    def write(number: int) -> None:
        with shelf.connect() as session:
            for turn in range(1_000_000):
                if stop.is_set():
                    return
                title = f"about {(turn * 7 + number) % 60 + 1}"
                session.execute("UPDATE documents SET views = views + 1 WHERE title = %s", [title])
                session.execute("INSERT INTO authors (name) VALUES ('passing')")
                session.execute("DELETE FROM authors WHERE id = (SELECT id FROM authors WHERE name = 'passing' LIMIT 1)")

    writers = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(3):
            verify(shelf, expect=0)
        shelf.cypher("MATCH (n:Chunk {id: 4}) SET n.body = 'defaced'")
        assert differences(verify(shelf)) == [("chunks", "neo4j", "stale", key(4))]
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(shelf: World) -> None:
    changed, ghost = document(shelf, "about 50"), str(uuid.uuid4())
    shelf.cypher("MATCH (n:Document {id: $id}) SET n.title = 'defaced'", id=changed)
    shelf.cypher("CREATE (:Document {id: $id, _apex_seq: 3})", id=ghost)
    said = command(shelf, "repair", "--dry-run", expect=1)
    assert "1 of public.documents to send" in said and changed in said
    assert "1 of public.documents to delete in neo4j" in said and ghost in said
    assert shelf.node("Document", id=changed)["title"] == "defaced"
    assert shelf.node("Document", id=ghost) is not None
    mend(shelf)


def test_an_emptied_store_is_filled_again(shelf: World) -> None:
    shelf.cypher("MATCH (n) WHERE NOT n:_ApexPipeline DETACH DELETE n")
    shelf.qdrant.delete_collection("documents")
    assert len(differences(verify(shelf, "--table", "documents"))) == 61 + 60
    command(shelf, "repair", "--table", "public.documents", "--table", "authors", expect=0)
    mend(shelf)


def test_a_question_that_makes_no_sense_is_refused(shelf: World) -> None:
    done = apex("verify", "--table", "nothing", variables=shelf.sidecar.variables)
    assert done.returncode == 2 and "no table nothing is attached" in done.stderr
    variables = {name: value for name, value in shelf.sidecar.variables.items() if name != "APEX_QDRANT_URI"}
    done = apex("verify", variables=variables)
    assert done.returncode == 2 and "mapped to qdrant, which is not configured" in done.stderr
