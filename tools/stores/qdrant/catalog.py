"""The collections of one data directory, each an engine shard with the message it was created from.

    <data>/collections/<quoted name>/collection.pb   the CreateCollection message; where it is, the collection exists
    <data>/collections/<quoted name>/shard/          the engine's files

The engine writes each update to its log before it applies it, and reads the log again when it loads the shard. The log
is a shared file mapping, so an acknowledged update survives the end of this process however it comes.
"""
import os
import pathlib
import shutil
import sys
import threading
import urllib.parse

import qdrant_edge as engine
from qdrant_client import grpc as api

from refusals import collection_exists, missing_collection, not_offered, wrong_input

_FLUSH_SECONDS = 5
_DISTANCES = {
    api.Distance.Cosine: engine.Distance.Cosine,
    api.Distance.Dot: engine.Distance.Dot,
    api.Distance.Euclid: engine.Distance.Euclid,
    api.Distance.Manhattan: engine.Distance.Manhattan,
}


class Collection:
    """A loaded collection. The engine's shard may be used by several threads at once; a deleted one raises."""

    def __init__(self, directory, created):
        self.directory = directory
        self.created = created
        self.shard = engine.EdgeShard.load(str(directory / "shard"))
        self.dimensions = {name: params.size for name, params in _dense(created).items()}
        self.dirty = False
        self._operations = 0
        self._lock = threading.Lock()

    def update(self, operation):
        """Applies one operation and returns its number."""
        self.shard.update(operation)
        self.dirty = True
        with self._lock:
            self._operations += 1
            return self._operations


class Catalog:
    def __init__(self, data):
        self._root = pathlib.Path(data) / "collections"
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._collections = {}
        for directory in sorted(self._root.iterdir()):
            marker = directory / "collection.pb"
            if marker.exists():
                created = api.CreateCollection.FromString(marker.read_bytes())
                self._collections[created.collection_name] = Collection(directory, created)
            else:
                shutil.rmtree(directory)
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, name="flusher", daemon=True)
        self._flusher.start()

    def names(self):
        with self._lock:
            return sorted(self._collections)

    def exists(self, name):
        with self._lock:
            return name in self._collections

    def get(self, name):
        with self._lock:
            collection = self._collections.get(name)
        if collection is None:
            raise missing_collection(name)
        return collection

    def create(self, created):
        name = created.collection_name
        directory = self._root / urllib.parse.quote(name, safe="")
        if not name or name in (".", ".."):
            raise wrong_input("collection_name: Validation error: invalid name")
        with self._lock:
            if name in self._collections:
                raise collection_exists(name)
            config = _engine_config(created)
            shutil.rmtree(directory, ignore_errors=True)
            (directory / "shard").mkdir(parents=True)
            engine.EdgeShard.create(str(directory / "shard"), config).close()
            _write_durably(directory / "collection.pb", created.SerializeToString())
            self._collections[name] = Collection(directory, created)

    def delete(self, name):
        """Whether there was such a collection."""
        with self._lock:
            collection = self._collections.pop(name, None)
            if collection is None:
                return False
            (collection.directory / "collection.pb").unlink()
            collection.shard.close()
            shutil.rmtree(collection.directory)
            return True

    def close(self):
        self._stopping.set()
        self._flusher.join()
        with self._lock:
            for collection in self._collections.values():
                collection.shard.flush()
                collection.shard.close()
            self._collections.clear()

    def _flush_regularly(self):
        """Keeps the log short: what is flushed need not be read again at the next start."""
        while not self._stopping.wait(_FLUSH_SECONDS):
            with self._lock:
                dirty = [collection for collection in self._collections.values() if collection.dirty]
            for collection in dirty:
                self._flush(collection)

    def _flush(self, collection):
        # Without the lock: a flush takes a while, and other calls need not wait for it.
        collection.dirty = False
        try:
            collection.shard.flush()
        except Exception as error:
            if self.exists(collection.created.collection_name):
                print(f"cannot flush {collection.directory}: {error}", file=sys.stderr, flush=True)


def _dense(created):
    config = created.vectors_config
    if config.WhichOneof("config") == "params":
        return {"": config.params}
    return dict(config.params_map.map)


def _engine_config(created):
    vectors = {name: _vector_params(params) for name, params in _dense(created).items()}
    sparse = {name: _sparse_params(params) for name, params in created.sparse_vectors_config.map.items()}
    return engine.EdgeConfig(vectors=vectors or None, sparse_vectors=sparse or None)


def _vector_params(params):
    if params.HasField("multivector_config"):
        raise not_offered("A multivector")
    if params.distance not in _DISTANCES:
        raise wrong_input("Unknown distance")
    if params.size == 0:
        raise wrong_input("size: value 0 invalid, must be 1 or larger")
    return engine.EdgeVectorParams(size=params.size, distance=_DISTANCES[params.distance])


def _sparse_params(params):
    idf = params.HasField("modifier") and params.modifier == api.Modifier.Idf
    return engine.EdgeSparseVectorParams(modifier=engine.Modifier.Idf if idf else None)


def _write_durably(path, content):
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
