"""A small library of authors, documents, chunks and citations, attached to every store, and its comparison with them.

The comparison reads each store through its official client and says in words what differs from PostgreSQL: the measure of
every crash, takeover and chaos test.
"""

import json
from typing import Any

from world import World

DIMENSIONS = 4

SCHEMA = """
CREATE TABLE authors (id uuid PRIMARY KEY DEFAULT uuid7(), name text NOT NULL);
CREATE TABLE documents (
  id uuid PRIMARY KEY DEFAULT uuid7(), title text NOT NULL, views int NOT NULL DEFAULT 0,
  author_id uuid REFERENCES authors, embedding real[]);
CREATE TABLE chunks (
  id bigint PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE, body text, embedding real[]);
CREATE TABLE cites (
  id bigint PRIMARY KEY, from_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  to_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE, page int);

SELECT apex.attach('authors', graph => apex.graph(label => 'Author', properties => ARRAY['name']));
SELECT apex.attach('documents',
  graph => apex.graph(label => 'Document', properties => ARRAY['title', 'views'],
                      relations => ARRAY[apex.relation('AUTHORED_BY', via => 'author_id')]),
  vector => apex.vector(collection => 'documents', embedding => 'embedding', dimensions => 4, payload => ARRAY['title', 'views']),
  cache => apex.cache(entity => 'document', mode => 'write', entry => 'doc:{id}', ttl => '1 hour',
                      invalidate => ARRAY['doc:{id}:chunks', 'query:*{id}*']));
SELECT apex.attach('chunks', aggregate => 'document_id',
  graph => apex.graph(label => 'Chunk', properties => ARRAY['body'],
                      relations => ARRAY[apex.relation('PART_OF', via => 'document_id')]),
  vector => apex.vector(collection => 'chunks', embedding => 'embedding', dimensions => 4, payload => ARRAY['body']),
  cache => apex.cache(entity => 'chunk', mode => 'invalidate', entry => 'chunk:{id}'));
SELECT apex.attach('cites', graph => apex.edge('CITES', from_column => 'from_id', to_column => 'to_id', properties => ARRAY['page']));
"""


def create(world: World) -> None:
    world.pg.execute(SCHEMA)


def differences(world: World) -> list[str]:
    """What the stores hold otherwise than PostgreSQL, one sentence each; empty when all four agree."""
    return [*_nodes(world), *_relations(world), *_points(world), *_entries(world)]


def _text(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """uuids as the stores hold them."""
    return [{name: str(value) if name == "id" or name.endswith("_id") else value for name, value in row.items()} for row in rows]


def _compare(what: str, wanted: dict[Any, Any], found: dict[Any, Any]) -> list[str]:
    said = [f"{what} {key} is missing" for key in wanted.keys() - found.keys()]
    said += [f"{what} {key} should not be there: {found[key]}" for key in found.keys() - wanted.keys()]
    said += [
        f"{what} {key} is {found[key]}, should be {wanted[key]}"
        for key in wanted.keys() & found.keys()
        if wanted[key] != found[key]
    ]
    return said


def _nodes(world: World) -> list[str]:
    said = []
    for label, query in {
        "Author": "SELECT id, name FROM authors",
        "Document": "SELECT id, title, views FROM documents",
        "Chunk": "SELECT id, body FROM chunks",
    }.items():
        rows = world.rows(query)
        if label != "Chunk":
            rows = _text(rows)
        wanted = {row["id"]: {name: value for name, value in row.items() if value is not None} for row in rows}
        found = {}
        for node in world.nodes(label):
            if node.pop("_apex_seq", None) is None:
                said.append(f"node {label} {node.get('id')} has no version")
            found[node["id"]] = node
        said += _compare(f"node {label}", wanted, found)
    return said


def _relations(world: World) -> list[str]:
    said = []
    for kind, query in {
        "AUTHORED_BY": "SELECT id::text, author_id::text FROM documents WHERE author_id IS NOT NULL",
        "PART_OF": "SELECT id, document_id::text FROM chunks",
    }.items():
        wanted = dict.fromkeys(world.sql(query))
        said += _compare(f"relationship {kind}", wanted, dict.fromkeys(world.relations(kind)))
    wanted = {row[0]: row[1:] for row in world.sql("SELECT id, from_id::text, to_id::text, page FROM cites")}
    found = {
        row["id"]: (row["a"], row["b"], row["page"])
        for row in world.cypher("MATCH (a)-[r:CITES]->(b) RETURN r.id AS id, a.id AS a, b.id AS b, r.page AS page")
    }
    return said + _compare("relationship CITES", wanted, found)


def _points(world: World) -> list[str]:
    said = []
    for collection, columns in {"documents": "title, views", "chunks": "body"}.items():
        rows = _text(world.rows(f"SELECT id, {columns}, embedding IS NOT NULL AS there FROM {collection}"))
        wanted = {row["id"]: {**row, "id": int(row["id"]) if collection == "chunks" else row["id"]} for row in rows if row.pop("there")}
        found = {}
        for record in _scroll(world, collection):
            payload = dict(record.payload or {})
            if payload.pop("_apex_seq", None) is None:
                said.append(f"point {collection} {record.id} has no version")
            found[str(record.id)] = payload
        said += _compare(f"point {collection}", wanted, found)
    return said


def _scroll(world: World, collection: str) -> list[Any]:
    if not world.qdrant.collection_exists(collection):
        return []
    records, offset = [], None
    while True:
        page, offset = world.qdrant.scroll(collection, limit=1000, offset=offset, with_payload=True)
        records += page
        if offset is None:
            return records


def _entries(world: World) -> list[str]:
    """An absent entry is no difference: a cache may forget. A stale one is."""
    rows = {row["id"]: row for row in _text(world.rows("SELECT id, title, views, author_id FROM documents"))}
    said = []
    for key in world.redis.scan_iter("doc:*"):
        entry = json.loads(world.redis.get(key) or "null")
        if entry is None:
            continue
        row = rows.get(key.removeprefix("doc:"))
        shown = {name: entry.get(name) for name in ("id", "title", "views")}
        if row is None:
            said.append(f"entry {key} should not be there: {entry}")
        elif shown != {name: row[name] for name in shown}:
            said.append(f"entry {key} is stale: {entry}, the row is {row}")
    return said
