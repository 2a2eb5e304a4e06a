"""The official Python clients loading the stores that are named at once, each in a process of its own.

usage: bulk_loaders.py [--neo4j URI] [--qdrant URI] [--redis URI] [--rows N]

Prints rows a second of each store as JSON, and of all: the rows over the time until the last store has them.
"""

import argparse
import itertools
import json
import multiprocessing
import time
from multiprocessing.synchronize import Barrier

from documents import documents
from writes import Cache, Graph, Vectors

# Rows of one request, the best of a few that were tried for each store.
_BATCHES = {"neo4j": 2000, "qdrant": 500, "redis": 2000}
_CLIENTS = {"neo4j": Graph, "qdrant": Vectors, "redis": Cache}


def _load(store: str, uri: str, rows: int, start: Barrier, took: "multiprocessing.Queue[tuple[str, float]]") -> None:
    client = _CLIENTS[store](uri)
    client.prepare()
    made = iter(documents(rows))
    batches = list(iter(lambda: list(itertools.islice(made, _BATCHES[store])), []))
    start.wait()
    started = time.perf_counter()
    for batch in batches:
        client.write(batch)
    took.put((store, time.perf_counter() - started))
    client.close()


def load(uris: dict[str, str], rows: int) -> dict[str, float]:
    start = multiprocessing.Barrier(len(uris))
    took: multiprocessing.Queue[tuple[str, float]] = multiprocessing.Queue()
    loaders = [multiprocessing.Process(target=_load, args=(store, uri, rows, start, took)) for store, uri in uris.items()]
    for loader in loaders:
        loader.start()
    spans = dict(took.get() for _ in loaders)
    for loader in loaders:
        loader.join()
    return {**{store: rows / span for store, span in spans.items()}, "all": rows / max(spans.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for store in _CLIENTS:
        parser.add_argument(f"--{store}")
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    uris = {store: getattr(options, store) for store in _CLIENTS if getattr(options, store)}
    print(json.dumps(load(uris, options.rows)))


if __name__ == "__main__":
    main()
