"""Embeddings without a model: words, pairs of words and the three-letter pieces of each word, hashed into 256 numbers.

Texts that share words, or forms of a word ("compress", "compression"), point in nearly the same direction. That is enough
to show a semantic search without downloading anything; a real application stores a model's output the same way.
"""

import hashlib
import math
import re
from collections.abc import Iterator

DIMENSIONS = 256

# Words that every description has tell nothing about one.
_COMMON = frozenset(
    "a also an and are as at be by can contains for from has have if in including into is it its library may more not of "
    "on one or other package packages program programs provides several such that the these they this to use used useful "
    "uses using various was which will with you your".split()
)


def embed(text: str) -> list[float]:
    """The same text gives the same unit vector, on every machine."""
    vector = [0.0] * DIMENSIONS
    for feature, weight in _features(text):
        digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
        place = int.from_bytes(digest[:4], "little") % DIMENSIONS
        # The sign makes collisions of two features cancel out on average.
        vector[place] += weight if digest[4] & 1 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:
        vector[0] = length = 1.0
    return [value / length for value in vector]


def _features(text: str) -> Iterator[tuple[str, float]]:
    words = [word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in _COMMON]
    for word in words:
        yield word, 1.0
        edged = f"<{word}>"
        for start in range(len(edged) - 2):
            yield "~" + edged[start : start + 3], 0.4
    for first, second in zip(words, words[1:]):
        yield f"{first} {second}", 0.5
