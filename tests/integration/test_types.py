"""Section 3a of the design, "What arrives": each cell of the table, through the whole way and back by each store's client."""

import datetime
import json
import uuid
from typing import Any

import neo4j.time
import pytest
from world import World, wait_until

UTC = datetime.timezone.utc
ABSENT = object()

# PostgreSQL type, SQL literal, then what Neo4j, Qdrant's payload and the cached JSON hold.
CELLS: list[tuple[str, str, str, Any, Any, Any]] = [
    ("int2", "int2", "-32768", -32768, -32768, -32768),
    ("int4", "int4", "2147483647", 2147483647, 2147483647, 2147483647),
    ("int8 keeps 64 bits", "int8", "9223372036854775807", 2**63 - 1, 2**63 - 1, 2**63 - 1),
    ("int8 lowest", "int8", "-9223372036854775808", -(2**63), -(2**63), -(2**63)),
    ("float8", "float8", "0.1", 0.1, 0.1, 0.1),
    ("float8 whole number stays a float in Neo4j", "float8", "3", 3.0, 3, 3),
    ("float4", "float4", "1.5", 1.5, 1.5, 1.5),
    ("bool", "bool", "true", True, True, True),
    ("text", "text", "'héllo \"wörld\" `x` \\\\ 日本 🎈'", *['héllo "wörld" `x` \\\\ 日本 🎈'] * 3),
    ("empty text", "text", "''", "", "", ""),
    ("varchar", "varchar(20)", "'short'", *["short"] * 3),
    ("uuid", "uuid", "'017f22e2-79b0-7cc3-98c4-dc0c0c07398f'", *["017f22e2-79b0-7cc3-98c4-dc0c0c07398f"] * 3),
    ("numeric keeps every digit", "numeric", "12345678901234567890.0100", *["12345678901234567890.0100"] * 3),
    ("json", "json", """'{"b": [1, null], "a": "x"}'""", {"b": [1, None], "a": "x"}, *[{"b": [1, None], "a": "x"}] * 2),
    ("jsonb", "jsonb", """'{"b": [1, null], "a": 9007199254740993}'""", *[{"b": [1, None], "a": 9007199254740993}] * 3),
    ("jsonb string", "jsonb", """'"x"'""", *["x"] * 3),
    ("array", "text[]", "ARRAY['a', 'b']", *[["a", "b"]] * 3),
    ("array of integers", "int8[]", "ARRAY[1, 9007199254740993]", *[[1, 9007199254740993]] * 3),
    ("empty array", "text[]", "'{}'", *[[]] * 3),
    ("array with NULLs", "text[]", "ARRAY['a', NULL]", json.dumps(["a", None], separators=(",", ":")), ["a", None], ["a", None]),
    (
        "timestamptz",
        "timestamptz",
        "'2022-02-22 21:22:22.123456+02'",
        datetime.datetime(2022, 2, 22, 19, 22, 22, 123456, UTC),
        *["2022-02-22T19:22:22.123456Z"] * 2,
    ),
    ("date", "date", "'2022-02-22'", datetime.date(2022, 2, 22), "2022-02-22", "2022-02-22"),
    (
        "timestamp",
        "timestamp",
        "'2022-02-22 19:22:22.5'",
        datetime.datetime(2022, 2, 22, 19, 22, 22, 500000),
        *["2022-02-22T19:22:22.5"] * 2,
    ),
    ("other types as their text", "inet", "'10.0.0.1/8'", *["10.0.0.1/8"] * 3),
    ("interval as its text", "interval", "'1 day 2 hours'", *["1 day 02:00:00"] * 3),
    ("NULL", "text", "NULL", ABSENT, None, None),
]


def attach(world: World, column_type: str, key: str = "uuid") -> None:
    world.pg.execute(f"""
        CREATE TABLE things (id {key} PRIMARY KEY, value {column_type}, embedding real[]);
        SELECT apex.attach('things',
          graph => apex.graph(label => 'Thing', properties => ARRAY['value']),
          vector => apex.vector(collection => 'things', embedding => 'embedding', dimensions => 2, payload => ARRAY['value']),
          cache => apex.cache(entity => 'thing', mode => 'write', entry => 'thing:{{id}}', ttl => '1 hour'));
    """)


def plain(value: Any) -> Any:
    """Neo4j's temporal values as Python's."""
    return value.to_native() if isinstance(value, (neo4j.time.DateTime, neo4j.time.Date)) else value


def same(found: Any, wanted: Any) -> bool:
    """RFC 3339 allows any number of fractional digits."""
    if isinstance(wanted, str) and isinstance(found, str) and wanted[:1].isdigit() and "T" in wanted:
        return found.rstrip("Z").rstrip("0") == wanted.rstrip("Z").rstrip("0") and found.endswith("Z") == wanted.endswith("Z")
    return type(found) is type(wanted) and found == wanted


@pytest.mark.parametrize(("column_type", "literal", "graph", "payload", "cached"), [c[1:] for c in CELLS], ids=[c[0] for c in CELLS])
def test_a_value_arrives_as_the_table_says(world: World, column_type: str, literal: str, graph: Any, payload: Any, cached: Any) -> None:
    attach(world, column_type)
    row_id = uuid.uuid4()
    world.sql(f"INSERT INTO things VALUES (%s, CAST({literal} AS {column_type}), '{{1,2}}')", row_id)
    world.wait_synced()

    node = world.node("Thing", id=str(row_id))
    assert node is not None
    held = plain(node.get("value", ABSENT))
    if column_type in ("json", "jsonb"):
        assert isinstance(held, str)
        held = json.loads(held)
    if isinstance(graph, str) and graph.startswith("["):
        held = json.dumps(json.loads(held), separators=(",", ":"))
    assert held == graph and type(held) is type(graph)

    stored = world.point("things", str(row_id)).payload["value"]
    entry = json.loads(world.redis.get(f"thing:{row_id}"))["value"]
    if column_type.startswith("float"):
        assert (stored, entry) == (payload, cached)
    else:
        assert same(stored, payload), stored
        assert same(entry, cached), entry


@pytest.mark.parametrize(
    ("column_type", "literal", "store_steps"),
    [("timestamptz", "'infinity'", 1), ("date", "'-infinity'", 1), ("timestamp", "'infinity'", 1)],
)
def test_an_infinite_date_is_parked_and_the_error_names_column_and_row(
    world: World, column_type: str, literal: str, store_steps: int
) -> None:
    attach(world, column_type)
    row_id = uuid.uuid4()
    world.sql(f"INSERT INTO things VALUES (%s, CAST({literal} AS {column_type}), '{{1,2}}')", row_id)
    parked = wait_until(lambda: [saga for saga in world.parked() if saga["state"] == "parked"])
    assert len(parked) == store_steps
    assert "value" in parked[0]["error"] and str(row_id) in parked[0]["error"] and "things" in parked[0]["error"]
    assert world.node("Thing", id=str(row_id)) is None
    assert world.point("things", str(row_id)) is None
    assert world.redis.get(f"thing:{row_id}") is None


def test_a_nan_in_an_embedding_is_parked_and_the_error_names_column_and_row(world: World) -> None:
    attach(world, "text")
    row_id = uuid.uuid4()
    world.sql("INSERT INTO things VALUES (%s, 'x', '{1,NaN}')", row_id)
    parked = wait_until(lambda: [saga for saga in world.parked() if saga["state"] == "parked"])
    assert "embedding" in parked[0]["error"] and str(row_id) in parked[0]["error"]
    assert world.node("Thing", id=str(row_id)) is None


def test_a_null_embedding_has_no_point_and_takes_an_existing_one_away(world: World) -> None:
    attach(world, "text")
    row_id = uuid.uuid4()
    world.sql("INSERT INTO things VALUES (%s, 'x', NULL)", row_id)
    world.wait_synced()
    assert world.point("things", str(row_id)) is None
    assert world.node("Thing", id=str(row_id)) is not None
    world.sql("UPDATE things SET embedding = '{1,2}'")
    world.wait_synced()
    assert world.point("things", str(row_id)) is not None
    world.sql("UPDATE things SET embedding = NULL")
    world.wait_synced()
    assert world.point("things", str(row_id)) is None


KEYS: list[tuple[str, str, str, Any]] = [
    ("uuid as it is", "uuid", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
    ("bigint as it is", "bigint", "42", 42),
    ("negative bigint as UUIDv5", "bigint", "-1", '["-1"]'),
    ("text as UUIDv5", "text", 'a "quoted" `key` *?[ü]', "text"),
]
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


@pytest.mark.parametrize(("key_type", "key", "point_id"), [k[1:] for k in KEYS], ids=[k[0] for k in KEYS])
def test_a_key_names_node_point_and_entry(world: World, key_type: str, key: str, point_id: Any) -> None:
    attach(world, "text", key=key_type)
    world.sql(f"INSERT INTO things VALUES (%s::{key_type}, 'x', '{{1,2}}')", key)
    world.wait_synced()
    graph_key = int(key) if key_type == "bigint" else key
    if isinstance(point_id, str) and key_type != "uuid":
        name = json.dumps([graph_key], ensure_ascii=False, separators=(",", ":"))
        point_id = str(uuid.uuid5(NAMESPACE, f"public.things\t{name}"))
    assert world.node("Thing", id=graph_key) is not None
    record = world.point("things", point_id)
    assert record is not None and record.payload["id"] == graph_key
    assert json.loads(world.redis.get(f"thing:{key}"))["id"] == graph_key
    world.sql("DELETE FROM things")
    world.wait_synced()
    assert world.node("Thing", id=graph_key) is None
    assert world.point("things", point_id) is None
    assert world.redis.get(f"thing:{key}") is None


def test_a_composite_key_is_a_composite_node_key_and_one_uuid5_point(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE pages (book text, number int, body text, embedding real[], PRIMARY KEY (book, number));
        SELECT apex.attach('pages',
          graph => apex.graph(label => 'Page', properties => ARRAY['body']),
          vector => apex.vector(collection => 'pages', embedding => 'embedding', dimensions => 2),
          cache => apex.cache(entity => 'page', mode => 'write', entry => 'page:{book}:{number}', ttl => '1 hour'));
        INSERT INTO pages VALUES ('Émile', 7, 'x', '{1,2}');
    """)
    world.wait_synced()
    assert world.node("Page", book="Émile", number=7)["body"] == "x"
    assert world.point("pages", str(uuid.uuid5(NAMESPACE, 'public.pages\t["Émile",7]'))).payload["number"] == 7
    assert json.loads(world.redis.get("page:Émile:7"))["body"] == "x"


def test_a_primary_key_update_moves_the_row_in_every_store(world: World) -> None:
    attach(world, "text", key="bigint")
    world.sql("INSERT INTO things VALUES (1, 'x', '{1,2}')")
    world.wait_synced()
    world.sql("UPDATE things SET id = 2")
    world.wait_synced()
    assert world.node("Thing", id=1) is None and world.node("Thing", id=2)["value"] == "x"
    assert world.point("things", 1) is None and world.point("things", 2).payload["value"] == "x"
    assert world.redis.get("thing:1") is None and json.loads(world.redis.get("thing:2"))["value"] == "x"


def test_odd_names_are_quoted_everywhere(world: World) -> None:
    world.pg.execute("""
        CREATE TABLE "We`ird ""T" (id bigint PRIMARY KEY, "a`b ""c" text, ref bigint REFERENCES "We`ird ""T");
        SELECT apex.attach('"We`ird ""T"',
          graph => apex.graph(label => 'La`bel "x" ü', properties => ARRAY['a`b "c'],
                              relations => ARRAY[apex.relation('TY`PE', via => 'ref')]));
        INSERT INTO "We`ird ""T" VALUES (1, 'x', NULL), (2, 'y', 1);
    """)
    world.wait_synced()
    found = world.cypher('MATCH (a:`La``bel "x" ü`)-[:`TY``PE`]->(b) RETURN a.`a``b "c` AS a, b.id AS b')
    assert found == [{"a": "y", "b": 1}]
