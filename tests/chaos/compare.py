"""Every row against every store, by the official clients alone: nothing of the product has a part in it."""

import collections
import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import neo4j
import psycopg
import qdrant_client
import redis
from psycopg.rows import dict_row
from stores.stack import Stack

Image = dict[str, Any]
# (table, key) -> image.
Rows = dict[tuple[str, Any], Image]

KEYS = {"authors": int, "documents": str, "chunks": int, "cites": int}
LABELS = {"authors": "Author", "documents": "Document", "chunks": "Chunk"}
IN_NEO4J = {"authors": ("id", "name"), "documents": ("id", "title", "author_id"), "chunks": ("id", "body", "document_id")}
IN_QDRANT = {"documents": ("id", "title", "author_id", "embedding"), "chunks": ("id", "body", "document_id", "embedding")}
ENTRIES = {"author": "authors", "document": "documents", "chunk": "chunks"}


@dataclasses.dataclass
class Difference:
    store: str
    row: tuple[str, Any]
    held: Image | None
    wanted: Image | None

    def __str__(self) -> str:
        table, key = self.row
        return f"{self.store}: {table} {key} is {self.held or 'absent'}, should be {self.wanted or 'absent'}"


class Comparison:
    """Opens its own clients; `close` ends them."""

    def __init__(self, stack: Stack, database: str) -> None:
        self._dsn = stack.postgres.dsn_of(database)
        self._neo4j: neo4j.Driver = stack.neo4j.driver()
        self._qdrant: qdrant_client.QdrantClient = stack.qdrant.client()
        self._redis: redis.Redis = stack.redis.client()

    def close(self) -> None:
        self._neo4j.close()
        self._qdrant.close()
        self._redis.close()

    def held(self) -> dict[str, Rows]:
        """What each store holds."""
        return {"neo4j": self._in_neo4j(), "qdrant": self._in_qdrant(), "redis": self._in_redis()}

    def wanted(self, held: dict[str, Rows]) -> dict[str, Rows]:
        """What each store should hold. A cache may have forgotten an entry, but holds no other one."""
        rows = self._in_postgres()
        entries = {row: image for row, image in rows.items() if row in held["redis"] and row[0] != "cites"}
        return {
            "neo4j": {row: _graph_image(row[0], image) for row, image in rows.items()},
            "qdrant": {
                row: {name: image[name] for name in IN_QDRANT[row[0]]}
                for row, image in rows.items()
                if row[0] in IN_QDRANT and image["embedding"] is not None
            },
            "redis": {row: {name: value for name, value in image.items() if name != "embedding"} for row, image in entries.items()},
        }

    def _in_postgres(self) -> Rows:
        found: Rows = {}
        with psycopg.connect(self._dsn, row_factory=dict_row) as session:
            session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for table, key in KEYS.items():
                for row in session.execute(f"SELECT * FROM {table}"):
                    image = {name: str(value) if type(value).__name__ == "UUID" else value for name, value in row.items()}
                    found[table, key(image["id"])] = image
        return found

    def _in_neo4j(self) -> Rows:
        found: Rows = {}
        owners = {"Document": ("AUTHORED_BY", "author_id"), "Chunk": ("PART_OF", "document_id")}
        for table, label in LABELS.items():
            kind, column = owners.get(label, ("NONE", "none"))
            query = f"""MATCH (n:{label}) OPTIONAL MATCH (n)-[r:{kind}]->(m)
                RETURN properties(n) AS n, collect(m.id) AS to, COUNT {{ (n)<--() }} AS pointed_at"""
            for record in self._neo4j.execute_query(query).records:
                image = dict(record["n"])
                row = (table, KEYS[table](image["id"]))
                assert row not in found, f"two nodes for {row}"
                if image.pop("_apex_seq", None) is None:
                    image = {"stub pointed at by": record["pointed_at"], **image}
                if len(record["to"]) > 1:
                    image[column] = record["to"]
                elif record["to"]:
                    image[column] = record["to"][0]
                found[row] = image
        query = "MATCH (a)-[r:CITES]->(b) RETURN r.id AS id, a.id AS from_id, b.id AS to_id, r.page AS page"
        edges = [dict(record) for record in self._neo4j.execute_query(query).records]
        assert len({edge["id"] for edge in edges}) == len(edges), "two relationships for one row of cites"
        return found | {("cites", edge["id"]): edge for edge in edges}

    def _in_qdrant(self) -> Rows:
        found: Rows = {}
        for table in IN_QDRANT:
            for record in _scroll(self._qdrant, table):
                payload = dict(record.payload or {})
                if payload.pop("_apex_seq", None) is None:
                    payload["no version"] = True
                found[table, KEYS[table](record.id)] = {**payload, "embedding": list(record.vector)}
        return found

    def _in_redis(self) -> Rows:
        found: Rows = {}
        names = list(self._redis.scan_iter("*", count=1000))
        for name, text in zip(names, self._redis.mget(names) if names else [], strict=True):
            entity, _, key = name.partition(":")
            if text is None or entity not in ENTRIES:
                continue
            image = json.loads(text)
            image.pop("_apex_seq")
            table = ENTRIES[entity]
            found[table, KEYS[table](key)] = image
        return found


def differences(held: dict[str, Rows], wanted: dict[str, Rows]) -> list[Difference]:
    return [
        Difference(store, row, held[store].get(row), wanted[store].get(row))
        for store in held
        for row in sorted(held[store].keys() | wanted[store].keys(), key=repr)
        if held[store].get(row) != wanted[store].get(row)
    ]


def without_stubs(found: list[Difference]) -> tuple[list[Difference], int]:
    """A node of a key alone, left of a row that is gone, says nothing of a row; the others, and how many there are."""
    others = [each for each in found if not (each.wanted is None and each.held and "stub pointed at by" in each.held)]
    return others, len(found) - len(others)


def half_applied(held: dict[str, Rows], parked: Iterable[tuple[str, Any]]) -> list[str]:
    """Rows of failed sagas that the stores hold in more than one state, or in the one that was refused."""
    said = []
    for table, key in parked:
        row = (table, key)
        texts = {store: _text(rows[row]) for store, rows in held.items() if row in rows and not "stub pointed at by" in rows[row]}
        if len(set(texts.values())) > 1 or any(text.startswith("refused") for text in texts.values()):
            said.append(f"{table} {key}: {texts}")
    return said


def count(found: list[Difference]) -> collections.Counter[str]:
    """`lost` is not there at all, `stale` is of another state than PostgreSQL or of a row that is gone."""
    return collections.Counter("lost" if each.held is None else "stale" for each in found)


def _text(image: Image) -> str:
    return image.get("title") or image.get("body") or image.get("name") or ""


def _graph_image(table: str, image: Image) -> Image:
    kept = image if table == "cites" else {name: image[name] for name in IN_NEO4J[table]}
    return {name: value for name, value in kept.items() if value is not None}


def _scroll(client: qdrant_client.QdrantClient, collection: str) -> Iterable[Any]:
    if not client.collection_exists(collection):
        return
    offset = None
    while True:
        page, offset = client.scroll(collection, limit=1000, offset=offset, with_payload=True, with_vectors=True)
        yield from page
        if offset is None:
            return
