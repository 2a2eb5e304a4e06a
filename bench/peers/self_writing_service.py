"""A service that writes each document to PostgreSQL and to the three stores itself, one after the other.

usage: self_writing_service.py --postgres DSN --neo4j URI --qdrant URI --redis URI [--seconds S] [--clients N]

Prints documents a second of N clients, and p50 and p99 in milliseconds of a single one, as JSON.
"""

import argparse
import json
import threading
import time

import psycopg

from documents import Document, documents
from writes import Cache, Graph, Vectors

# More than any client writes in a run.
_DOCUMENTS = 20_000
_INSERT = "INSERT INTO peer_documents VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"


class Client:
    def __init__(self, options: argparse.Namespace) -> None:
        self._postgres = psycopg.connect(options.postgres, autocommit=True)
        self._stores = [Graph(options.neo4j), Vectors(options.qdrant), Cache(options.redis)]
        self._postgres.execute(
            "CREATE TABLE IF NOT EXISTS peer_documents (id uuid PRIMARY KEY, title text, source text, kind text, words int,"
            " created_at timestamptz, author_id uuid, embedding real[])"
        )
        for store in self._stores:
            store.prepare()

    def write(self, document: Document) -> None:
        self._postgres.execute(
            _INSERT,
            [
                document.id,
                document.title,
                document.source,
                document.kind,
                document.words,
                document.created_at,
                document.author_id,
                document.embedding,
            ],
        )
        for store in self._stores:
            store.write([document])

    def close(self) -> None:
        self._postgres.close()
        for store in self._stores:
            store.close()


def _run(client: Client, seconds: float, took: list[float]) -> None:
    until = time.perf_counter() + seconds
    for document in documents(_DOCUMENTS):
        started = time.perf_counter()
        if started >= until:
            return
        client.write(document)
        took.append(time.perf_counter() - started)


def _measure(options: argparse.Namespace, count: int) -> tuple[float, list[float]]:
    clients = [Client(options) for _ in range(count)]
    took: list[list[float]] = [[] for _ in clients]
    threads = [
        threading.Thread(target=_run, args=(client, options.seconds, mine)) for client, mine in zip(clients, took, strict=True)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    span = time.perf_counter() - started
    for client in clients:
        client.close()
    every = sorted(value for mine in took for value in mine)
    return len(every) / span, every


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for store in ("postgres", "neo4j", "qdrant", "redis"):
        parser.add_argument(f"--{store}", required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    _, single = _measure(options, 1)
    rate, _ = _measure(options, options.clients)
    at = lambda share: 1000 * single[min(len(single) - 1, int(len(single) * share))]  # noqa: E731
    print(json.dumps({"documents_per_second": rate, "p50_ms": at(0.5), "p99_ms": at(0.99)}))


if __name__ == "__main__":
    main()
