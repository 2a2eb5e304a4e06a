"""A process-local cache that follows the sidecar's stream of events, so that it is right a moment after every change.

    local = LocalCache(redis.Redis(decode_responses=True), stream="cache_events")
    text = local.get(document_id, load=lambda: cache.get(f"doc:{document_id}", ...))
"""

import json
import threading
from collections.abc import Callable

import redis


class LocalCache:
    """Thread-safe. Holds what `load` gave until an event names its id; `close` ends the thread that listens."""

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self._client, self._stream = client, stream
        self._lock = threading.Lock()
        self._held: dict[str, str | None] = {}
        # Ids that are being loaded, and whether an event has named them meanwhile: what was loaded before a change is not kept.
        self._loading: dict[str, list[threading.Event]] = {}
        self._place = self._last()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def get(self, key: str, load: Callable[[], str | None]) -> str | None:
        changed = threading.Event()
        with self._lock:
            if key in self._held:
                return self._held[key]
            self._loading.setdefault(key, []).append(changed)
        try:
            value = load()
        finally:
            with self._lock:
                self._loading[key].remove(changed)
        with self._lock:
            if not changed.is_set():
                self._held[key] = value
        return value

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _last(self) -> str:
        last = self._client.xrevrange(self._stream, count=1)
        return last[0][0] if last else "0-0"

    def _forget(self, key: str | None) -> None:
        """One id, or with None everything."""
        with self._lock:
            for each in [key] if key is not None else list(self._loading):
                for changed in self._loading.get(each, []):
                    changed.set()
            if key is None:
                self._held.clear()
            else:
                self._held.pop(key, None)

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                read = self._client.xread({self._stream: self._place}, count=1000, block=200)
                if self._was_lost():
                    self._place = self._last()
                    self._forget(None)
                    continue
                for place, fields in read[0][1] if read else []:
                    self._place = place
                    named = json.loads(fields["event"])["document_id"]
                    self._forget(named if isinstance(named, str) else None)
            except redis.ConnectionError:
                # What happens meanwhile is in the stream.
                self._closed.wait(0.2)

    def _was_lost(self) -> bool:
        """The stream was cut behind our place, or has begun anew: events may be missing."""
        try:
            info = self._client.xinfo_stream(self._stream)
        except redis.ResponseError:  # there is none
            return self._place != "0-0"
        first, place = info["first-entry"], _number(self._place)
        return _number(info["last-generated-id"]) < place or (first is not None and _number(first[0]) > place)


def _number(place: str) -> tuple[int, int]:
    time, _, count = place.partition("-")
    return int(time), int(count)
