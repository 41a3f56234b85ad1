"""A gallery in memory, and a reader that sees a face where the bytes say so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from agency_node.gallery import EnrolledFace, GalleryDeclaration
from agency_node.gallery.database import RecordsFile
from agency_node.gallery.gallery import Gallery
from agency_node.gallery.index import MemoryIndex
from agency_node.gallery.records import Records
from agency_node.gallery.vault import Vault
from federation.errors import Code, LiaisonError

TODAY = date(2026, 5, 1)


class FakeReader:
    """Reads `face <n>`, `face <n> crowd`, `nobody` and `several`; anything else is no picture."""

    def __init__(self) -> None:
        self.read_photos: list[bytes] = []

    def template(self, person: int) -> np.ndarray:
        vector = np.zeros(512, dtype=np.float32)
        vector[person] = 1.0
        return vector

    def read(self, photo: bytes) -> EnrolledFace:
        self.read_photos.append(photo)
        match photo.split():
            case [b"face", person, *crowd]:
                flags = ("other-faces:2",) if crowd else ()
                return EnrolledFace(
                    self.template(int(person)), (0.0, 0.0, 9.0, 9.0), ((1.0, 1.0),) * 5, 70, flags
                )
            case [b"nobody"]:
                raise LiaisonError(Code.NO_FACE)
            case [b"several"]:
                raise LiaisonError(Code.SEVERAL_FACES)
        raise LiaisonError(Code.IMAGE_UNREADABLE)


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


@pytest.fixture
def today() -> date:
    return TODAY


def build(tmp_path: Path, kind: str) -> Iterator[Gallery]:
    vault = Vault(b"k" * 32, tmp_path / "home" / "photos")
    file = RecordsFile(tmp_path / "home" / "records.db", vault)
    ids = count(1)
    yield Gallery(
        "gallery",
        GalleryDeclaration(kind),
        "engine@1",
        records=Records(file, vault, "gallery", "engine@1"),
        vault=vault,
        index=MemoryIndex(),
        new_id=lambda: next(ids),
    )
    file.close()


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    yield from build(tmp_path, "booking")


@pytest.fixture
def public_gallery(tmp_path: Path) -> Iterator[Gallery]:
    yield from build(tmp_path, "public-source")


@pytest.fixture
def source_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder
