"""A gallery with an index in memory, and people whose templates are directions in space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agency_node.gallery import EncounterFacts, EnrolledFace, Enrolment, GalleryDeclaration, create_key
from agency_node.gallery.database import RecordsFile
from agency_node.gallery.gallery import Gallery
from agency_node.gallery.index import MemoryIndex
from agency_node.gallery.records import Records
from agency_node.gallery.vault import Vault, read_key

BOOKING = GalleryDeclaration(kind="booking", title="Booking photographs", retention_days=3650)


@dataclass
class Home:
    """A node's home on disk; the index outlives the processes, as Milvus does."""

    path: Path
    key_uri: str
    index: MemoryIndex = field(default_factory=lambda: MemoryIndex(dimension=512))

    def open(
        self,
        stack: ExitStack,
        *,
        engine_id: str = "engine@1",
        holds_index: bool = True,
        wrap: Callable[[Any, str], Any] = lambda part, _name: part,
        name: str = "booking",
    ) -> Gallery:
        vault = Vault(read_key(self.key_uri), self.path / "photos")
        file = RecordsFile(self.path / "records.db", vault)
        stack.callback(file.close)
        ids = count(int.from_bytes(np.random.default_rng().bytes(4), "big"))
        return Gallery(
            name,
            BOOKING,
            engine_id,
            records=wrap(Records(file, vault, name, engine_id), "records"),
            vault=wrap(vault, "vault"),
            index=wrap(self.index, "index") if holds_index else None,
            new_id=lambda: next(ids) + 1,
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, create_key(tmp_path / "vault.key"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as closing:
        yield closing


@pytest.fixture
def gallery(home: Home, stack: ExitStack) -> Gallery:
    return home.open(stack)


@pytest.fixture
def direction() -> Callable[..., np.ndarray]:
    """A person's template: one of 512 directions, leaning towards another by `lean`."""

    def build(person: int, *, towards: int | None = None, lean: float = 0.0) -> np.ndarray:
        vector = np.zeros(512, dtype=np.float32)
        vector[person] = 1.0
        if towards is not None:
            vector[towards] += lean
        return vector / np.linalg.norm(vector)

    return build


@pytest.fixture
def enrolment() -> Callable[..., Enrolment]:
    def build(
        template: np.ndarray, subject: str, encounter: str = "1", photo: bytes | None = None, **facts: Any
    ) -> Enrolment:
        face = EnrolledFace(template, (1.0, 2.0, 3.0, 4.0), ((1.5, 2.5),) * 5, 80, ("other-faces:1",))
        known = EncounterFacts(subject, encounter, captured_on=date(2024, 2, 29), **facts)
        return Enrolment(known, photo or f"photo of {subject} {encounter}".encode(), face)

    return build
