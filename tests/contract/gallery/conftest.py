"""Both indexes behind one door: a function that opens, closes and opens again what is stored at one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from agency_node.gallery.index import MemoryIndex, TemplateIndex
from agency_node.gallery.milvus import MilvusStore

Opener = Callable[[], AbstractContextManager[TemplateIndex]]


@pytest.fixture(params=["memory", pytest.param("milvus-lite", marks=pytest.mark.slow)])
def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "memory":
        kept = MemoryIndex(dimension=512)

        @contextmanager
        def memory() -> Iterator[TemplateIndex]:
            yield kept

        return memory

    @contextmanager
    def lite() -> Iterator[TemplateIndex]:
        store = MilvusStore(folder=tmp_path / "index", uri=None)
        index = store.open_index("booking", 512)
        try:
            yield index
        finally:
            store.close()

    return lite
