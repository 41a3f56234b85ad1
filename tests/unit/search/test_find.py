"""From picture to candidates: the face at the signed place only, and of each subject only what policy releases."""

from __future__ import annotations

import base64
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agency_node.engine.base import Face
from agency_node.engine.picture import encode_jpeg, encode_png, open_picture
from agency_node.gallery.model import Counts, EncounterFacts, Match
from agency_node.search.find import GallerySearcher
from federation.errors import Code, LiaisonError

ALL = frozenset(
    {"photo", "subject-reference", "encounter-date", "year-of-birth", "sex", "name", "provenance"}
)
FACTS = EncounterFacts(
    subject_ref="S-1",
    encounter_ref="E-1",
    captured_on=date(2024, 5, 6),
    name="N" * 300,
    year_of_birth=1990,
    sex="F",
    race="never released",
    provenance_url="https://example.org/1",
    basis="news",
)


def face(x: float, y: float, size: float = 100) -> Face:
    return Face((x, y, x + size, y + size), np.zeros((5, 2), np.float32), 0.99)


class FakeEngine:
    engine_id, name, dimension = "fake@000000000000", "fake", 4

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)
        self.templated: list[Face] = []

    def detect(self, picture: Any) -> list[Face]:
        return self.faces

    def template(self, picture: Any, chosen: Face) -> Any:
        self.templated.append(chosen)
        return np.array([1, 0, 0, 0], np.float32)

    def templates(self, picture: Any, faces: Any) -> list[Any]:
        return [self.template(picture, chosen) for chosen in faces]


class FakeGallery:
    def __init__(self, photo: bytes, similarity: float = 0.7) -> None:
        self.stored = photo
        self.similarity = similarity

    def search(self, template: Any, limit: int) -> list[Match]:
        match = Match(1, 1, self.similarity, FACTS, (600.0, 500.0, 700.0, 620.0), 80, ())
        return [match] * limit

    def counts(self) -> Counts:
        return Counts(subjects=3, encounters=4, templates=5, pending=0)

    def photo(self, encounter_id: int) -> bytes:
        return self.stored


@pytest.fixture
def picture() -> bytes:
    return encode_png(np.full((200, 300, 3), 128, np.uint8))


@pytest.fixture
def searched(picture: bytes) -> Any:
    rng = np.random.default_rng(7)
    photo = encode_jpeg(rng.integers(0, 255, (1200, 1600, 3)).astype(np.uint8))

    def make(*faces: Face, similarity: float = 0.7) -> Any:
        engine = FakeEngine(*faces)
        searcher = GallerySearcher(engine, {"booking": FakeGallery(photo, similarity)})  # type: ignore[dict-item]
        return SimpleNamespace(engine=engine, searcher=searcher)

    return make


def test_the_face_at_the_signed_place_is_taken_and_no_other(searched: Any, picture: bytes) -> None:
    under = searched(face(0, 0, 190), face(150, 40))
    under.searcher.find("booking", picture, (148, 45, 252, 138), 1, ALL)
    [chosen] = under.engine.templated
    assert chosen.box[0] == 150


@pytest.mark.parametrize("faces", [[], [face(0, 0)]])
def test_where_the_engine_sees_no_face_at_that_place_nothing_is_searched(
    searched: Any, picture: bytes, faces: list[Face]
) -> None:
    under = searched(*faces)
    with pytest.raises(LiaisonError) as caught:
        under.searcher.find("booking", picture, (180, 80, 280, 180), 1, ALL)
    assert caught.value.code is Code.NO_FACE
    assert under.engine.templated == []


def test_only_released_fields_travel(searched: Any, picture: bytes) -> None:
    find = searched(face(0, 0)).searcher.find
    [bare] = find("booking", picture, (0, 0, 100, 100), 1, frozenset()).candidates
    assert set(bare.model_dump(exclude_none=True)) == {"rank", "similarity"}
    [partly] = find("booking", picture, (0, 0, 100, 100), 1, {"subject-reference", "sex"}).candidates
    assert set(partly.model_dump(exclude_none=True)) == {"rank", "similarity", "subject", "sex"}
    [fully] = find("booking", picture, (0, 0, 100, 100), 1, ALL).candidates
    assert (fully.subject, fully.encounter_date, fully.year_of_birth) == ("S-1", "2024-05-06", 1990)
    assert fully.provenance == {"url": "https://example.org/1", "basis": "news"}
    assert fully.name == "N" * 200
    assert "never released" not in fully.model_dump_json()


def test_a_released_photograph_shows_the_subject_small_and_nobody_beside(
    searched: Any, picture: bytes
) -> None:
    find = searched(face(0, 0)).searcher.find
    [candidate] = find("booking", picture, (0, 0, 100, 100), 1, {"photo"}).candidates
    photo = open_picture(base64.b64decode(candidate.photo))
    assert photo.format == "JPEG"
    # The face is 100 x 120 pixels; with 120 on every side it is 340 x 360 of the 1600 x 1200.
    assert (photo.width, photo.height) == (340, 360)


def test_rounding_never_makes_a_similarity_that_cannot_be(searched: Any, picture: bytes) -> None:
    find = searched(face(0, 0), similarity=1.0000001).searcher.find
    found = find("booking", picture, (0, 0, 100, 100), 3, frozenset())
    assert [candidate.similarity for candidate in found.candidates] == [1.0] * 3
    assert [candidate.rank for candidate in found.candidates] == [1, 2, 3]
    assert (found.size.subjects, found.size.templates, found.engine) == (3, 5, "fake@000000000000")


def test_a_picture_that_cannot_be_read_is_an_error_of_the_catalogue(searched: Any) -> None:
    with pytest.raises(LiaisonError) as caught:
        searched(face(0, 0)).searcher.find("booking", b"no picture", (0, 0, 1, 1), 1, ALL)
    assert caught.value.code is Code.IMAGE_UNREADABLE


def test_only_open_galleries_are_served(searched: Any) -> None:
    searcher = searched().searcher
    assert searcher.serves("booking")
    assert not searcher.serves("juvenile")
