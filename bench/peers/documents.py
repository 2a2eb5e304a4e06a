"""The documents that the peers write: what bench/sidecar/schema.sql makes in SQL."""

import datetime
import os
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

DIMENSIONS = 384
_STOCK = 1000


def uuid7() -> str:
    value = int(time.time() * 1000) << 80 | 0x7 << 76 | int.from_bytes(os.urandom(10)) & ~(0xF << 76)
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


@dataclass(frozen=True)
class Document:
    id: str
    title: str
    source: str
    kind: str
    words: int
    created_at: datetime.datetime
    author_id: str
    embedding: list[float]

    @property
    def cached(self) -> dict[str, object]:
        """What the cache entry holds, ready for JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "source": self.source,
            "kind": self.kind,
            "words": self.words,
            "created_at": self.created_at.isoformat(),
            "author_id": self.author_id,
        }


def documents(count: int) -> Iterator[Document]:
    chance = random.Random(7)
    vectors = [[chance.random() - 0.5 for _ in range(DIMENSIONS)] for _ in range(_STOCK)]
    authors = [uuid7() for _ in range(_STOCK)]
    for i in range(count):
        yield Document(
            id=uuid7(),
            title=f"Title of document number {i}",
            source=f"https://example.org/documents/{i}",
            kind="report",
            words=i % 5000,
            created_at=datetime.datetime.now(datetime.UTC),
            author_id=authors[i % _STOCK],
            embedding=vectors[i % _STOCK],
        )
