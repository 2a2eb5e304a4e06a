"""One write of documents to each store with its official client, as its documentation advises."""

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

import neo4j
import qdrant_client
import redis
from qdrant_client import models

from documents import DIMENSIONS, Document

COLLECTION = "peer_documents"
_CACHE_SECONDS = 3600
_CYPHER = """
UNWIND $rows AS row
MERGE (d:PeerDocument {id: row.id})
SET d += row.properties
MERGE (a:PeerAuthor {id: row.author_id})
MERGE (d)-[:AUTHORED_BY]->(a)
"""


class Graph:
    def __init__(self, uri: str) -> None:
        self._driver = neo4j.GraphDatabase.driver(uri, notifications_min_severity="OFF")

    def prepare(self) -> None:
        self._driver.execute_query("CREATE CONSTRAINT IF NOT EXISTS FOR (d:PeerDocument) REQUIRE d.id IS UNIQUE")
        self._driver.execute_query("CREATE CONSTRAINT IF NOT EXISTS FOR (a:PeerAuthor) REQUIRE a.id IS UNIQUE")

    def write(self, documents: Sequence[Document]) -> None:
        rows = [
            {
                "id": each.id,
                "author_id": each.author_id,
                "properties": {
                    "title": each.title,
                    "source": each.source,
                    "kind": each.kind,
                    "words": each.words,
                    "created_at": each.created_at,
                },
            }
            for each in documents
        ]
        self._driver.execute_query(_CYPHER, rows=rows)

    def close(self) -> None:
        self._driver.close()


class Vectors:
    def __init__(self, uri: str) -> None:
        at = urlsplit(uri)
        self._client = qdrant_client.QdrantClient(
            host=at.hostname, grpc_port=at.port, prefer_grpc=True, timeout=60, check_compatibility=False
        )

    def prepare(self) -> None:
        if not self._client.collection_exists(COLLECTION):
            shape = models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
            self._client.create_collection(COLLECTION, vectors_config=shape)

    def write(self, documents: Sequence[Document]) -> None:
        points = [
            models.PointStruct(
                id=each.id, vector=each.embedding, payload={"id": each.id, "title": each.title, "kind": each.kind}
            )
            for each in documents
        ]
        self._client.upsert(COLLECTION, points=points, wait=True)

    def close(self) -> None:
        self._client.close()


class Cache:
    def __init__(self, uri: str) -> None:
        self._client = redis.Redis.from_url(uri)

    def prepare(self) -> None:
        self._client.ping()

    def write(self, documents: Sequence[Document]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for each in documents:
                pipeline.set(f"peer:{each.id}", json.dumps(each.cached), ex=_CACHE_SECONDS)
                pipeline.delete(f"peer:{each.id}:chunks")
            pipeline.execute()

    def close(self) -> None:
        self._client.close()
