"""The index of a gallery: which templates are nearest to this one.

The records are the truth, and an index can be rebuilt from them at any time; so an index may lose what it
acknowledged, and whatever it returns is checked against the records. All vectors are unit length, and similarity is
their inner product.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Hit = tuple[int, float]

# A Milvus server returns no more than this many rows to one search.
LARGEST_K = 16_384


class TemplateIndex(Protocol):
    """Finds the nearest templates, exactly.

    Ids are positive 63-bit integers; vectors are float32, unit length, shape (n, dimension).
    Errors: GALLERY_DAMAGED when the index's files cannot be read, INDEX_UNAVAILABLE when its server does not answer.
    """

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Put templates in, or replace those with the same ids."""

    def delete(self, ids: Sequence[int]) -> None:
        """Take templates out; ids that are not there are no error."""

    def search(self, vectors: Vectors, k: int) -> list[list[Hit]]:
        """Return for each of the m vectors up to `k` (id, similarity), the most similar first."""

    def ids(self) -> set[int]:
        """Return every id in the index."""

    def count(self) -> int:
        """Return how many templates are in the index."""


class MemoryIndex:
    """An index in memory: one matrix product per search, for tests and as the measure of the others."""

    def __init__(self, dimension: int = 512) -> None:
        self._dimension = dimension
        self._vectors: dict[int, Vectors] = {}
        self._lock = threading.Lock()

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        with self._lock:
            self._vectors.update(zip(ids, np.array(vectors, dtype=np.float32), strict=True))

    def delete(self, ids: Sequence[int]) -> None:
        with self._lock:
            for template_id in ids:
                self._vectors.pop(template_id, None)

    def search(self, vectors: Vectors, k: int) -> list[list[Hit]]:
        with self._lock:
            ids = list(self._vectors)
            matrix = np.array(list(self._vectors.values()), dtype=np.float32).reshape(-1, self._dimension)
        similarities = np.atleast_2d(vectors) @ matrix.T
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return [
            [(ids[column], float(row[column])) for column in columns]
            for row, columns in zip(similarities, order, strict=True)
        ]

    def ids(self) -> set[int]:
        with self._lock:
            return set(self._vectors)

    def count(self) -> int:
        return len(self._vectors)
